"""Compares PostgreSQL's rows with the lake's, by DuckDB: a request as JSON on standard input, the answer as JSON on standard output."""
import json
import os
import sys

# Standard output is for the answer alone: DuckDB draws its progress there.
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def connect():
    import duckdb

    con = duckdb.connect()
    try:  # the extension as a Python package
        import glob

        import duckdb_extension_delta

        folder = os.path.dirname(duckdb_extension_delta.__file__)
        con.execute("LOAD '%s'" % glob.glob(folder + "/extensions/*/delta.duckdb_extension")[0].replace("'", "''"))
    except ImportError:
        con.execute("INSTALL delta")
        con.execute("LOAD delta")
    con.execute("SET enable_progress_bar = false")
    con.execute("SET TimeZone = 'UTC'")
    return "DuckDB " + duckdb.__version__, con


def compare(con, table):
    path, csv = (table[k].replace("'", "''") for k in ("path", "csv"))
    columns = ", ".join('"%s"' % c for c in table["columns"])
    con.execute("CREATE OR REPLACE TEMP TABLE lake AS SELECT %s FROM delta_scan('%s')" % (columns, path))
    con.execute("CREATE OR REPLACE TEMP TABLE source AS SELECT * FROM lake LIMIT 0")
    con.execute("COPY source FROM '%s' (FORMAT csv, HEADER, NULLSTR '\\N')" % csv)
    count = lambda t: con.execute("SELECT count(*) FROM " + t).fetchone()[0]
    # EXCEPT ALL compares multisets: a row that is there twice has to be there twice.
    minus = lambda a, b: [str(r)[:300] for r in con.execute("SELECT * FROM (SELECT * FROM %s EXCEPT ALL SELECT * FROM %s) LIMIT 5" % (a, b)).fetchall()]
    return {"table": table["name"], "source_rows": count("source"), "lake_rows": count("lake"),
            "only_in_source": minus("source", "lake"), "only_in_lake": minus("lake", "source")}


def main():
    try:
        name, con = connect()
    except Exception as e:  # not here, or not able to read Delta
        json.dump({"unavailable": "%s: %s" % (type(e).__name__, e)}, answer)
        return
    json.dump({"by": name, "tables": [compare(con, t) for t in json.load(sys.stdin)]}, answer)


main()
