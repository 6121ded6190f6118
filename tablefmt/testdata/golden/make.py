"""Makes small tables after the pattern of Delta's own golden tables (delta-io/delta, connectors/golden-tables), whose files cannot be had
without its build: what each is about is the same, the rows are fewer.

    make.py FOLDER [NAME ...]     FOLDER/NAME/delta is the table, FOLDER/NAME/expected/VERSION what Spark reads of a version, as Parquet

Without names it makes those of KEPT, which are checked in; integration/formats makes all of TABLES.

It wants what ../spark/make.py wants. Those golden tables whose point is a log that is wrong are written by hand, in golden_test.go.
"""

import contextlib
import datetime
import decimal
import importlib.util
import os
import sys

D = decimal.Decimal
ALL = "all"  # versions to keep what is expected of


def spark_make():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "spark", "make.py")
    spec = importlib.util.spec_from_file_location("spark_make", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def conf(spark, **settings):
    before = {}
    for key, value in settings.items():
        key = key.replace("__", ".")
        before[key] = spark.conf.get(key, None)
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, value in before.items():
            spark.conf.unset(key) if value is None else spark.conf.set(key, value)


@contextlib.contextmanager
def hadoop(spark, key, value):
    settings = spark.sparkContext._jsc.hadoopConfiguration()
    settings.set(key, value)
    try:
        yield
    finally:
        settings.unset(key)


def rows(spark, path, data, schema, mode="append", by=(), **options):
    w = spark.createDataFrame(data, schema).coalesce(1).write.format("delta").mode(mode)
    for key, value in options.items():
        w = w.option(key.replace("__", "."), value)
    w.partitionBy(*by).save(path)


def sql(spark, path, *statements):
    for s in statements:
        spark.sql(s.replace("{t}", f"delta.`{path}`"))


PRIMITIVES = "as_int INT, as_long LONG, as_byte BYTE, as_short SHORT, as_boolean BOOLEAN, as_float FLOAT, as_double DOUBLE, as_string STRING"


def primitive(i):
    return (i, i, i, i, i % 2 == 0, float(i), float(i), str(i))


def data_reader(spark, path):
    """data-reader-primitives, -array-primitives, -array-complex-objects, -map, -nested-struct, 124-decimal-decode-bug"""
    schema = PRIMITIVES + """, as_binary BINARY, as_big_decimal DECIMAL(1,0), large_decimal DECIMAL(10,0),
        array_int ARRAY<INT>, array_byte ARRAY<BYTE>, array_boolean ARRAY<BOOLEAN>, array_double ARRAY<DOUBLE>, array_string ARRAY<STRING>,
        array_binary ARRAY<BINARY>, array_decimal ARRAY<DECIMAL(1,0)>,
        list_4d ARRAY<ARRAY<ARRAY<ARRAY<INT>>>>, list_of_maps ARRAY<MAP<STRING, LONG>>, list_of_records ARRAY<STRUCT<val: INT>>,
        a MAP<INT, INT>, b MAP<LONG, BYTE>, c MAP<SHORT, BOOLEAN>, d MAP<FLOAT, DOUBLE>, e MAP<STRING, DECIMAL(1,0)>, f MAP<INT, ARRAY<STRUCT<val: INT>>>,
        nested STRUCT<aa: STRING, ab: STRING, ac: STRUCT<aca: INT, acb: LONG>>"""
    n = 9 + 10 + 7 + 3

    def row(i):
        three = [(i,), (i,), None]
        return (*primitive(i), bytes([i, i]), D(i), D(1000000 + i), [i], [i, None], [i % 2 == 0], [float(i)], [str(i), None], [bytes([i, i])], [D(i)],
                [[[[i, i], [i]], []], [[[i, None]]]], [{str(i): i}, {str(i): None}], three, {i: i}, {i: i}, {i: i % 2 == 0}, {float(i): float(i)},
                {str(i): D(i)}, {i: three}, (str(i), str(i), (i, i)))

    rows(spark, path, [row(i) for i in range(4)] + [(None,) * (n - 1)], schema)


def partition_values(spark, path):
    """data-reader-partition-values: every type, null beside the text 'null'"""
    by = [c.split()[0] for c in PRIMITIVES.split(", ")] + ["as_string_lit_null", "as_date", "as_timestamp", "as_ntz", "as_big_decimal"]
    schema = PRIMITIVES + ", as_string_lit_null STRING, as_date DATE, as_timestamp TIMESTAMP, as_ntz TIMESTAMP_NTZ, as_big_decimal DECIMAL(5,3), value STRING"
    at = datetime.datetime(2021, 9, 8, 11, 11, 11)
    data = [(*primitive(i), "null", at.date(), at, at.replace(microsecond=i), D(i) / 8, str(i)) for i in range(2)] + [(None,) * len(by) + ("2",)]
    rows(spark, path, data, schema, by=by)
    # As before Delta 3: the text of the session's zone, without a zone.
    with conf(spark, **{"spark__databricks__delta__write__utcTimestampPartitionValues": "false"}):
        rows(spark, path, [(*primitive(5), "x", at.date(), at.replace(microsecond=120), at, D("-99.125"), "5")], schema, by=by)


def partition_oddities(spark, path):
    """floats that are no numbers, the least and greatest of all, dates before year 1 cannot be written by Spark"""
    sql(spark, path,
        "CREATE TABLE {t} (id INT, f FLOAT, d DOUBLE, l LONG, s STRING, dt DATE, ts TIMESTAMP, b BOOLEAN, bin BINARY) USING delta PARTITIONED BY (f, d, l, s, dt, ts, b, bin)",
        """INSERT INTO {t} VALUES
            (1, float('NaN'), double('Infinity'), -9223372036854775808, 'a/b c=d%e', DATE'0001-01-01', TIMESTAMP'0001-01-01 00:00:00', true, X'41'),
            (2, float('-Infinity'), 1e300D, 9223372036854775807, '+ü%2F''"{}', DATE'9999-12-31', TIMESTAMP'9999-12-31 23:59:59.999999', false, X'C3BC'),
            (3, float('1e-45'), -0.0D, 0, '', DATE'1582-10-15', TIMESTAMP'1969-12-31 23:59:59.000001', null, X''),
            (4, 0.1F, 0.1D, 1, '__HIVE_DEFAULT_PARTITION__', DATE'1582-10-04', TIMESTAMP'1582-10-04 00:00:00.1', null, null),
            (5, 16777216F, 123456789012345680D, 1, ' lead', null, null, null, null)""")


def escaped_chars(spark, path):
    """data-reader-escaped-chars, hive/deltatbl-special-chars-in-partition-column, -column-names-case-insensitive"""
    for i, v in enumerate(["bar+%21", "+ =%0", "a%2Fb", "ü:?#*", "%252F"]):
        rows(spark, path, [(f"foo{i}", v)], "`Foo Bar` STRING, BarFoo STRING", by=["BarFoo"], delta__columnMapping__mode="name") if i == 0 else \
            rows(spark, path, [(f"foo{i}", v)], "`Foo Bar` STRING, BarFoo STRING", by=["BarFoo"])
    sql(spark, path, "DELETE FROM {t} WHERE BarFoo = '+ =%0'")


def empty_files(spark, path):
    """125-iterator-bug"""
    for data in ([], [1], [2], [], [3], [], [], [4], []):
        rows(spark, path, [(x,) for x in data], "col1 INT")


def timestamps(kind):
    def build(spark, path):
        at = datetime.datetime
        data = [(0, at(2020, 1, 1, 8, 9, 10, 1000), at(2020, 2, 1, 8, 9, 10)), (1, at(2021, 10, 1, 8, 9, 20), at(1999, 1, 1, 9)),
                (2, at(2021, 10, 1, 8, 9, 20), at(2000, 1, 1, 9, 0, 0, 123000)), (3, at(1969, 1, 1), at(1969, 1, 1)), (4, None, None)]
        with conf(spark, spark__sql__parquet__outputTimestampType=kind):
            rows(spark, path, data, "id INT, part TIMESTAMP, time TIMESTAMP", by=["part"])
            sql(spark, path, "INSERT INTO {t} SELECT 5, null, TIMESTAMP'0001-01-01 00:00:00'", "INSERT INTO {t} SELECT 6, null, TIMESTAMP'9999-12-31 23:59:59.999'",
                "INSERT INTO {t} SELECT 7, null, TIMESTAMP'1677-09-21 00:12:43'")
    build.__doc__ = f"kernel-timestamp-{kind}"
    return build


def zones(spark, path):
    """data-reader-date-types-*, kernel-timestamp-PST"""
    for i, zone in enumerate(["UTC", "Iceland", "America/Los_Angeles", "Etc/GMT+9", "Asia/Beirut", "JST"]):
        with conf(spark, spark__sql__session__timeZone=zone):
            if i == 0:
                sql(spark, path, "CREATE TABLE {t} (i INT, timestamp TIMESTAMP, date DATE, part TIMESTAMP) USING delta PARTITIONED BY (part)")
            sql(spark, path, f"INSERT INTO {{t}} VALUES ({i}, TIMESTAMP'2020-01-01 08:09:10', DATE'2020-01-01', TIMESTAMP'2020-07-01 08:09:1{i}')")


def all_types(**settings):
    def build(spark, path):
        def some(i, n, v):
            return v if i % n else None

        def row(i):
            lists = [[[i], [i + 10, i + 20], [None, i]], [[i], [], None], [[None]], [None], [[]], []]
            return (some(i, 7, i % 100), some(i, 5, i), some(i, 11, i), some(i, 12, i + 1), some(i, 6, i * 0.234), some(i, 8, i * 234234.23), some(i, 9, D(i * 12352) / 100),
                    some(i, 10, i % 2 == 0), some(i, 3, str(i)), some(i, 4, str(i).encode()), some(i, 13, datetime.date(1970, 1, 1) + datetime.timedelta(days=i * 100)),
                    some(i, 14, datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=i * 23423523)),
                    some(i, 6, (None, None) if i % 5 == 0 else (str(i), some(i, 4, (i,)))), some(i, 5, [] if i % 4 == 0 else [i, None, i + 1]), some(i, 8, lists[i % 6]),
                    [(i,), None], some(i, 7, {} if i % 3 == 0 else {i: some(i, 4, i + 2), i + 2: i + 9}), {i + 1: (i * 20,) if i % 4 else None},
                    some(i, 9, {} if i % 5 == 0 else {i: [i, None] if i % 2 else [], i + 1: [None]}))

        schema = """byte BYTE, short SHORT, int INT, long LONG, float FLOAT, double DOUBLE, decimal DECIMAL(10,2), boolean BOOLEAN, string STRING, binary BINARY, date DATE,
            timestamp TIMESTAMP, nested STRUCT<aa: STRING, ac: STRUCT<aca: INT>>, array_of_prims ARRAY<INT>, array_of_arrays ARRAY<ARRAY<INT>>,
            array_of_structs ARRAY<STRUCT<ab: LONG>>, map_of_prims MAP<INT, LONG>, map_of_rows MAP<INT, STRUCT<ab: LONG>>, map_of_arrays MAP<LONG, ARRAY<INT>>"""
        with conf(spark, **settings):
            rows(spark, path, [row(i) for i in range(60)], schema)
    build.__doc__ = "parquet-all-types" + ("-legacy-format" if settings else "")
    return build


def decimals(**settings):
    def build(spark, path):
        data = [[D(v) for v in r] for r in (
            ("234", "1", "2", "3"), ("2342222.23454", "111.11", "22222.22222", "3333333333.3333333333"),
            ("0.00004", "0.001", "0.000002", "0.00000000003"), ("-2342342.23423", "-999.99", "-99999.99999", "-9999999999.9999999999"))]
        scales = (D("0.00001"), D("0.01"), D("0.00001"), D("0.0000000001"))
        data = [[v.quantize(s) for v, s in zip(r, scales)] for r in data]
        with conf(spark, **settings):
            rows(spark, path, data, "part DECIMAL(12,5), col1 DECIMAL(5,2), col2 DECIMAL(10,5), col3 DECIMAL(20,10)", by=["part"])
    build.__doc__ = "basic-decimal-table" + ("-legacy" if settings else "")
    return build


def dictionaries(version):
    def build(spark, path):
        with hadoop(spark, "parquet.writer.version", version):
            rows(spark, path, [(i, D(i % 5), D(i % 6), D(i % 2), str(i % 7)) for i in range(3000)],
                 "id INT, col1 DECIMAL(9,0), col2 DECIMAL(12,0), col3 DECIMAL(25,0), s STRING")
    build.__doc__ = f"parquet-decimal-dictionaries-{version}"
    return build


def decimal_types(spark, path):
    """parquet-decimal-type, decimal-various-scale-precision"""
    kinds = [(1, 0), (1, 1), (2, 1), (4, 4), (5, 1), (9, 0), (9, 9), (10, 5), (12, 0), (18, 18), (19, 0), (19, 19), (20, 5), (28, 7), (38, 0), (38, 18), (38, 38)]

    def value(i, p, s):
        with decimal.localcontext(prec=60):
            return D((1, 0, -1, 10 ** p - 1, 1 - 10 ** p)[i]).scaleb(-s)

    rows(spark, path, [[i] + [value(i, p, s) for p, s in kinds] for i in range(5)] + [[5] + [None] * len(kinds)],
         "id INT, " + ", ".join(f"d{p}_{s} DECIMAL({p},{s})" for p, s in kinds))


def vectors(**properties):
    def build(spark, path):
        listed = ", ".join(f"'{k.replace('__', '.')}' = '{v}'" for k, v in {"delta__enableDeletionVectors": "true", **properties}.items())
        sql(spark, path, f"CREATE TABLE {{t}} (part INT, col1 INT, col2 STRING) USING delta PARTITIONED BY (part) TBLPROPERTIES ({listed})",
            "INSERT INTO {t} SELECT id % 3, id, concat('foo', id % 5) FROM (SELECT CAST(id AS INT) id FROM range(0, 50, 1, 1))",
            *(f"DELETE FROM {{t}} WHERE col1 = {n * 2}" for n in range(11)))
    build.__doc__ = "dv-partitioned-with-checkpoint, dv-with-columnmapping, log-replay-dv-key-cases"
    return build


def v2_checkpoint(kind):
    def build(spark, path):
        with conf(spark, spark__databricks__delta__checkpointV2__topLevelFileFormat=kind, spark__databricks__delta__checkpoint__partSize="2"):
            sql(spark, path, """CREATE TABLE {t} (id LONG) USING delta TBLPROPERTIES
                ('delta.checkpointPolicy' = 'v2', 'delta.checkpointInterval' = '2', 'delta.enableDeletionVectors' = 'true')""",
                *(f"INSERT INTO {{t}} SELECT /*+ REPARTITION(2) */ id FROM range({i}, {i + 5})" for i in (0, 10, 20)), "DELETE FROM {t} WHERE id = 11")
    build.__doc__ = f"v2-checkpoint-{kind}"
    return build


def parts(spark, path):
    """multi-part-checkpoint, only-checkpoint-files"""
    with conf(spark, spark__databricks__delta__checkpoint__partSize="5"):
        sql(spark, path, "CREATE TABLE {t} (id LONG) USING delta TBLPROPERTIES ('delta.checkpointInterval' = '1')",
            "INSERT INTO {t} SELECT id FROM range(0, 1, 1, 1)", "INSERT INTO {t} SELECT /*+ REPARTITION(9) */ id FROM range(30)")


def inserts_deletes(spark, path):
    """basic-with-inserts-deletes-checkpoint"""
    sql(spark, path, "CREATE TABLE {t} (id LONG) USING delta TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')",
        *(f"INSERT INTO {{t}} SELECT id FROM range({n}, {n + 10}, 1, 1)" for n in range(0, 40, 10)),
        *(f"DELETE FROM {{t}} WHERE id >= {n + 5} AND id <= {n + 9}" for n in range(0, 40, 10)),
        "INSERT INTO {t} SELECT id FROM range(50, 60, 1, 1)", "INSERT INTO {t} SELECT id FROM range(60, 70, 1, 1)", "DELETE FROM {t} WHERE id >= 66")


def life(spark, path):
    """snapshot-data*, time-travel-schema-changes, -partition-changes, log-replay-latest-metadata-protocol, commit-info-containing-arbitrary-operationParams-types"""
    rows(spark, path, [(i, f"data-0-{i}") for i in range(10)], "col1 INT, col2 STRING")
    rows(spark, path, [(i, f"data-1-{i}") for i in range(10)], "col1 INT, col2 STRING")
    rows(spark, path, [(i, f"data-2-{i}") for i in range(10)], "col1 INT, col2 STRING", mode="overwrite")
    rows(spark, path, [(i, f"data-3-{i}") for i in range(20)], "col1 INT, col2 STRING")
    sql(spark, path, "DELETE FROM {t} WHERE col2 LIKE 'data-2-%'")
    spark.read.format("delta").load(path).repartition(2).write.option("dataChange", "false").format("delta").mode("overwrite").save(path)
    rows(spark, path, [(i, "x", i) for i in range(3)], "col1 INT, col2 STRING, part INT", mergeSchema="true")
    sql(spark, path, "OPTIMIZE {t} ZORDER BY (col1)")
    rows(spark, path, [(i, i % 2) for i in range(4)], "col1 INT, part2 INT", mode="overwrite", by=["part2"], overwriteSchema="true")
    sql(spark, path, "ALTER TABLE {t} SET TBLPROPERTIES ('delta.feature.vacuumProtocolCheck' = 'supported', 'delta.enableRowTracking' = 'true', 'delta.enableInCommitTimestamps' = 'true')")
    rows(spark, path, [(100, 1)], "col1 INT, part2 INT")
    rows(spark, path, [("abc", (1, [2.5])), (None, None)], "z STRING, y STRUCT<x: INT, w: ARRAY<DOUBLE>>", mode="overwrite", overwriteSchema="true")


def skipping(**properties):
    def build(spark, path):
        listed = ", ".join(f"'{k.replace('__', '.')}' = '{v}'" for k, v in {"delta__checkpointInterval": "2", **properties}.items())
        sql(spark, path, f"""CREATE TABLE {{t}} (as_int INT, as_long LONG, as_byte BYTE, as_short SHORT, as_float FLOAT, as_double DOUBLE, as_string STRING, as_date DATE,
            as_timestamp TIMESTAMP, as_ntz TIMESTAMP_NTZ, as_big_decimal DECIMAL(3,1), late INT, p STRING) USING delta PARTITIONED BY (p) TBLPROPERTIES ({listed})""",
            "INSERT INTO {t} VALUES (0, 0, 0, 0, 0, 0, '0', DATE'2000-01-01', TIMESTAMP'2000-01-01 00:00:00', TIMESTAMP_NTZ'2000-01-01 00:00:00', 0, 1, 'a')",
            "ALTER TABLE {t} SET TBLPROPERTIES ('delta.dataSkippingNumIndexedCols' = '1')",
            "INSERT INTO {t} VALUES (1, 1, 1, 1, 1, 1, '1', DATE'2000-01-02', TIMESTAMP'2000-01-02 00:00:00', TIMESTAMP_NTZ'2000-01-02 00:00:00', 1.5, 2, 'b')",
            "ALTER TABLE {t} SET TBLPROPERTIES ('delta.dataSkippingNumIndexedCols' = '-1', 'delta.checkpoint.writeStatsAsStruct' = 'true', 'delta.checkpoint.writeStatsAsJson' = 'false')",
            "INSERT INTO {t} VALUES (null, null, null, null, float('NaN'), double('-Infinity'), repeat('z', 50), null, null, null, null, null, null)",
            "INSERT INTO {t} VALUES (5, 5, 5, 5, 5, 5, '5', DATE'2000-01-05', TIMESTAMP'2000-01-05 00:00:00', null, 5, 5, 'b')")
    build.__doc__ = "data-skipping-basic-stats-all-types(-checkpoint, -columnmapping-*), -change-stats-collected-across-versions, -partition-and-data-column"
    return build


def ntz(**properties):
    def build(spark, path):
        listed = ", ".join(f"'{k.replace('__', '.')}' = '{v}'" for k, v in {"delta__checkpointInterval": "3", **properties}.items())
        sql(spark, path, f"CREATE TABLE {{t}} (id INT, tsNtz TIMESTAMP_NTZ, tsNtzPartition TIMESTAMP_NTZ) USING delta PARTITIONED BY (tsNtzPartition) TBLPROPERTIES ({listed})",
            """INSERT INTO {t} VALUES (0, TIMESTAMP_NTZ'2021-11-18 02:30:00.123456', TIMESTAMP_NTZ'2021-11-18 02:30:00.123456'),
                (1, TIMESTAMP_NTZ'2013-07-05 17:01:00.123456', TIMESTAMP_NTZ'2021-11-18 02:30:00.123456'), (2, null, TIMESTAMP_NTZ'2013-07-05 17:01:00'),
                (3, TIMESTAMP_NTZ'0001-01-01 00:00:00', null)""", "DELETE FROM {t} WHERE id = 1", "INSERT INTO {t} VALUES (4, TIMESTAMP_NTZ'9999-12-31 23:59:59.999999', TIMESTAMP_NTZ'1582-10-10 00:00:00')")
    build.__doc__ = "data-reader-timestamp_ntz(-id-mode, -name-mode), table-with-columnmapping-mode-*"
    return build


TABLES = {
    "data-reader": (data_reader, None), "partition-values": (partition_values, None), "partition-oddities": (partition_oddities, None), "escaped-chars": (escaped_chars, ALL),
    "empty-files": (empty_files, None), "timestamp-INT96": (timestamps("INT96"), None), "timestamp-TIMESTAMP_MILLIS": (timestamps("TIMESTAMP_MILLIS"), None),
    "timestamp-TIMESTAMP_MICROS": (timestamps("TIMESTAMP_MICROS"), None), "zones": (zones, None),
    "all-types": (all_types(), None), "all-types-legacy-format": (all_types(spark__sql__parquet__writeLegacyFormat="true"), None),
    "decimals": (decimals(), None), "decimals-legacy": (decimals(spark__sql__parquet__writeLegacyFormat="true"), None), "decimal-types": (decimal_types, None),
    "decimal-dictionaries-v1": (dictionaries("v1"), None), "decimal-dictionaries-v2": (dictionaries("v2"), None),
    "vectors": (vectors(), None), "vectors-mapped": (vectors(delta__columnMapping__mode="name"), None),
    "v2-checkpoint-json": (v2_checkpoint("json"), ALL), "v2-checkpoint-parquet": (v2_checkpoint("parquet"), ALL),
    "multi-part-checkpoint": (parts, ALL), "inserts-deletes": (inserts_deletes, None), "life": (life, ALL),
    "skipping": (skipping(), ALL), "skipping-id": (skipping(delta__columnMapping__mode="id"), None),
    "ntz": (ntz(), None), "ntz-name": (ntz(delta__columnMapping__mode="name"), None),
}


KEPT = [
    "data-reader", "partition-values", "partition-oddities", "escaped-chars", "empty-files", "timestamp-INT96", "timestamp-TIMESTAMP_MILLIS", "zones",
    "all-types-legacy-format", "decimals-legacy", "decimal-types", "decimal-dictionaries-v1", "decimal-dictionaries-v2", "vectors-mapped", "v2-checkpoint-json",
    "multi-part-checkpoint", "inserts-deletes", "life", "skipping",
]


def prune(home, name, glob):
    """Takes away what is large and there more than once."""
    log = os.path.join(home, "delta", "_delta_log")
    gone = glob.glob(os.path.join(home, "**", ".*.crc"), recursive=True, include_hidden=True)  # of Hadoop's local file system
    gone += glob.glob(os.path.join(home, "**", "_SUCCESS"), recursive=True)
    if name != "inserts-deletes":
        gone += glob.glob(os.path.join(log, "*.crc"))
    if name in ("skipping", "v2-checkpoint-json"):  # all but the last checkpoint
        found = glob.glob(os.path.join(log, "*.checkpoint.*")) + glob.glob(os.path.join(log, "_sidecars", "*.checkpoint.*"))
        newest = max(os.path.basename(path)[:20] for path in found)
        gone += [path for path in found if os.path.basename(path)[:20] != newest]
    for path in set(gone):
        os.remove(path)


def main(folder, *names):
    import glob
    import shutil

    spark = spark_make().session()
    for name in names or KEPT:
        home = os.path.join(os.path.abspath(folder), name)
        shutil.rmtree(home, ignore_errors=True)
        table = os.path.join(home, "delta")
        build, versions = TABLES[name]
        build(spark, table)
        last = max(row.version for row in spark.sql(f"DESCRIBE HISTORY delta.`{table}`").collect())
        for version in range(last + 1) if versions == ALL else [last]:
            frame = spark.read.format("delta").option("versionAsOf", version).load(table)
            frame.coalesce(1).write.parquet(os.path.join(home, "expected", str(version)))
        prune(home, name, glob)
        print(name, last, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
