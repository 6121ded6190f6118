"""A reader of Delta tables that answers questions on standard input, one JSON object a line.

    readers.py duckdb|deltars|polars|spark     answers until standard input ends
    readers.py --self-check                    loads everything but Spark's session, and ends

Every value is told in one text form, equal for all readers and equal to what the Go side makes of PostgreSQL's output
(integration/readers, canonical.go, which is where the form is specified). NULL is null.
"""

import glob
import json
import os
import shutil
import sys
import tempfile
import traceback

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

# --- the canonical form ---------------------------------------------------------------------------------------------

TEXT = pa.large_string()


def text_of(a):
    """An Arrow array as an array of canonical text."""
    t = a.type
    if pa.types.is_dictionary(t):
        return text_of(a.cast(t.value_type))
    if pa.types.is_null(t):
        return pa.nulls(len(a), TEXT)
    if pa.types.is_boolean(t) or pa.types.is_integer(t) or pa.types.is_date32(t):
        return pc.cast(a, TEXT)
    if pa.types.is_date64(t):
        return pc.cast(pc.cast(a, pa.date32()), TEXT)
    if pa.types.is_floating(t):
        s = pc.cast(a, TEXT)
        odd = pc.fill_null(pc.invert(pc.is_finite(a)), False)
        if not pc.any(odd).as_py():
            return s
        for raw, name in (("nan", "NaN"), ("-nan", "NaN"), ("inf", "Infinity"), ("-inf", "-Infinity")):
            s = pc.if_else(pc.equal(s, raw), pa.scalar(name, TEXT), s)
        return s
    if pa.types.is_decimal(t):
        return decimal_text(a)
    if pa.types.is_timestamp(t):
        return pc.cast(pc.cast(a, pa.timestamp("us", "UTC" if t.tz else None)), TEXT)
    if pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t):
        return pc.cast(a, TEXT)
    if pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_binary_view(t) or pa.types.is_fixed_size_binary(t):
        return pa.array([None if v is None else v.hex() for v in a.to_pylist()], TEXT)
    if pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_fixed_size_list(t) or pa.types.is_list_view(t) or pa.types.is_map(t) or pa.types.is_struct(t):
        return pa.array([None if v is None else json.dumps(v, ensure_ascii=False, sort_keys=True, separators=(",", ":")) for v in nested(a)], TEXT)
    raise TypeError(f"no canonical text is defined for {t}: add it to readers.py and canonical.go")


def decimal_text(a):
    """Plain digits with the whole declared scale. Arrow's own cast uses exponents for small numbers."""
    scale, n = a.type.scale, len(a)
    if not pa.types.is_decimal128(a.type) and not pa.types.is_decimal256(a.type):
        a = pc.cast(a, pa.decimal128(38, scale))
    whole = pa.decimal128(a.type.precision, 0) if pa.types.is_decimal128(a.type) else pa.decimal256(a.type.precision, 0)
    unscaled = pc.cast(pa.Array.from_buffers(whole, n, a.buffers(), offset=a.offset), TEXT)
    if scale <= 0:
        return pc.cast(pc.cast(a, whole), TEXT) if scale < 0 else unscaled
    negative = pc.starts_with(unscaled, "-")
    digits = pc.utf8_lpad(pc.utf8_ltrim(unscaled, "-"), scale + 1, "0")
    sign = pc.if_else(negative, pa.scalar("-", TEXT), pa.scalar("", TEXT))
    sep = pa.scalar("", TEXT)
    point = pa.scalar(".", TEXT)
    return pc.binary_join_element_wise(
        sign, pc.utf8_slice_codeunits(digits, 0, -scale), point, pc.utf8_slice_codeunits(digits, -scale), sep)


def nested(a):
    """Lists, maps and structs as Python values whose leaves are canonical text."""
    t = a.type
    if pa.types.is_map(t):
        offsets, keys, items = a.offsets.to_pylist(), nested(a.keys), nested(a.items)
        return [dict(zip(keys[offsets[i]:offsets[i + 1]], items[offsets[i]:offsets[i + 1]])) if a[i].is_valid else None for i in range(len(a))]
    if pa.types.is_struct(t):
        fields = [(t.field(i).name, nested(a.field(i))) for i in range(t.num_fields)]
        return [{name: values[i] for name, values in fields} if a[i].is_valid else None for i in range(len(a))]
    if pa.types.is_large_list(t) or pa.types.is_list(t):
        value = t.value_type
        offsets, values = a.offsets.to_pylist(), nested(a.values)
        rows = [values[offsets[i]:offsets[i + 1]] if a[i].is_valid else None for i in range(len(a))]
        if pa.types.is_struct(value) and [value.field(i).name for i in range(value.num_fields)] == ["key", "value"]:
            # Polars has no map type: it reads one as this list.
            return [None if row is None else {e["key"]: e["value"] for e in row} for row in rows]
        return rows
    if pa.types.is_fixed_size_list(t) or pa.types.is_list_view(t):
        return nested(a.cast(pa.large_list(t.value_type)))
    return text_of(a).to_pylist()


def text_columns(batch):
    return [text_of(column) for column in batch.columns]


def rows_of(batches):
    rows = []
    for batch in batches:
        rows.extend(list(row) for row in zip(*(c.to_pylist() for c in text_columns(batch))))
    return rows


def fingerprint_of(batches):
    """The count of the rows, and the sums of the two halves of each row's MD5, modulo 2**64: equal for equal multisets."""
    con = duckdb.connect()
    con.execute("set threads = 2")
    count = low = high = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        # No value holds a NUL, so what follows one tells a separator from a NULL.
        line = pc.binary_join_element_wise(*text_columns(batch), pa.scalar("\0,", TEXT), null_handling="replace", null_replacement="\0N")
        lines = pa.table({"line": line})  # noqa: F841, read by the query
        n, a, b = con.execute("select count(*), sum(md5_number_upper(line)), sum(md5_number_lower(line)) from lines").fetchone()
        count, low, high = count + n, (low + int(a)) % 2**64, (high + int(b)) % 2**64
    return count, low, high


def batches_of(table):
    """Anything that speaks Arrow as record batches."""
    if isinstance(table, pa.RecordBatch):
        return [table]
    if isinstance(table, (pa.Table, pa.RecordBatchReader)):
        return table.to_batches() if isinstance(table, pa.Table) else table
    return pa.RecordBatchReader.from_stream(table)


# --- the readers ----------------------------------------------------------------------------------------------------


def quoted(name, quote='"'):
    return quote + name.replace(quote, quote * 2) + quote


def select_list(columns, quote='"'):
    return ", ".join(quoted(c, quote) for c in columns) if columns else "*"


def extension(name):
    # INSTALL would fetch it from DuckDB's own server; the wheel has it.
    for folder in sys.path:
        found = glob.glob(f"{glob.escape(folder)}/duckdb_extension_{name}/extensions/v{duckdb.__version__}/{name}.duckdb_extension")
        if found:
            return found[0]
    raise FileNotFoundError(f"the DuckDB extension {name} for DuckDB {duckdb.__version__} is not installed")


class Reader:
    """What every reader can do. scan gives the record batches of a table, sql those of a query."""

    def __init__(self):
        self.storage = {}
        self.names = {"reader": self, "pa": pa, "pc": pc}

    def scan(self, path, version, columns):
        raise NotImplementedError

    def sql(self, query):
        raise NotImplementedError(f"{type(self).__name__} takes no SQL")

    def execute(self, statement):
        self.sql(statement)

    def fingerprint(self, path, version, columns):
        return fingerprint_of(self.scan(path, version, columns))

    def python(self, code, args):
        names = dict(self.names, args=args, result=None)
        exec(compile(code, "<test>", "exec"), names)
        result = names["result"]
        if result is None:
            return []
        if isinstance(result, list):
            return result
        return rows_of(batches_of(result))


class DuckDB(Reader):
    def __init__(self):
        super().__init__()
        self.con = duckdb.connect()
        for name in ("delta", "httpfs", "postgres_scanner"):
            self.con.execute(f"load '{extension(name)}'")
        self.con.execute("set TimeZone = 'UTC'; set threads = 2; set memory_limit = '2GB'; set autoinstall_known_extensions = false")
        self.names["con"] = self.con

    def scan(self, path, version, columns):
        at = "" if version is None else f", version => {int(version)}"
        return self.sql("select " + select_list(columns) + " from delta_scan('" + path.replace("'", "''") + "'" + at + ")")

    def sql(self, query):
        self.con.execute(query)
        if self.con.description is None:
            return []
        return self.con.to_arrow_reader(100_000)

    def execute(self, statement):
        self.con.execute(statement)


class DeltaRS(Reader):
    def __init__(self):
        super().__init__()
        import deltalake

        self.deltalake = deltalake
        self.tables = {}
        self.names["deltalake"] = deltalake

    def scan(self, path, version, columns):
        table = self.deltalake.DeltaTable(path, version=version, storage_options=self.storage or None)
        query = self.deltalake.QueryBuilder().register("t", table).execute("select " + select_list(columns) + " from t")
        return batches_of(query)


class Polars(Reader):
    def __init__(self):
        super().__init__()
        import polars

        self.polars = polars
        self.names["polars"] = polars

    def scan(self, path, version, columns):
        frame = self.polars.scan_delta(path, version=version, storage_options=self.storage or None)
        if columns:
            frame = frame.select(columns)
        return batches_of(frame.collect().to_arrow())


class Spark(Reader):
    def __init__(self):
        super().__init__()
        tools = os.environ["LAKELOAD_TOOLS"]
        jars = sorted(glob.glob(os.path.join(glob.escape(tools), "jars", "*.jar")))
        if not jars:
            raise FileNotFoundError(f"there are no jars in {tools}/jars")
        os.environ.update(PYSPARK_PYTHON=sys.executable, PYSPARK_DRIVER_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")
        # What would make this a client of another Spark, or a part of another's configuration.
        for name in ("SPARK_HOME", "SPARK_CONF_DIR", "SPARK_REMOTE", "PYSPARK_SUBMIT_ARGS", "HADOOP_CONF_DIR"):
            os.environ.pop(name, None)
        from pyspark.sql import SparkSession

        self.folder = tempfile.mkdtemp(prefix="lakeload-spark-")
        java = f"-Duser.timezone=UTC -Dderby.system.home={self.folder} -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
        conf = {
            "spark.master": "local[2]",
            "spark.app.name": "lakeload-tests",
            "spark.jars": ",".join(jars),
            "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
            "spark.sql.catalogImplementation": "in-memory",
            "spark.sql.session.timeZone": "UTC",
            "spark.driver.memory": "1g",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.extraJavaOptions": java,
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.local.dir": self.folder,
            "spark.sql.warehouse.dir": os.path.join(self.folder, "warehouse"),
            "spark.sql.shuffle.partitions": "2",
            "spark.databricks.delta.snapshotPartitions": "2",
            "spark.sql.execution.arrow.pyspark.enabled": "true",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
        }
        builder = SparkSession.builder
        for name, value in conf.items():
            builder = builder.config(name, value)
        self.spark = builder.getOrCreate()
        self.spark.sparkContext.setLogLevel("ERROR")
        self.names["spark"] = self.spark

    def frame(self, path, version, columns):
        read = self.spark.read.format("delta")
        if version is not None:
            read = read.option("versionAsOf", int(version))
        frame = read.load(path)
        return frame.select(*(quoted(c, "`") for c in columns)) if columns else frame

    def scan(self, path, version, columns):
        return batches_of(self.frame(path, version, columns).toArrow())

    def fingerprint(self, path, version, columns):
        # The rows stay in Spark's workers: only the sums come here.
        def sums(batches):
            count, low, high = fingerprint_of(batches)
            yield pa.RecordBatch.from_pydict({"n": [count], "low": [str(low)], "high": [str(high)]})

        parts = self.frame(path, version, columns).mapInArrow(sums, "n long, low string, high string").collect()
        return tuple(sum(int(p[i]) for p in parts) % 2**64 for i in range(3))

    def sql(self, query):
        return batches_of(self.spark.sql(query).toArrow())

    def execute(self, statement):
        self.spark.sql(statement).collect()

    def close(self):
        from pyspark import SparkContext

        self.spark.stop()
        gateway = SparkContext._gateway
        if gateway is not None and getattr(gateway, "proc", None) is not None:
            gateway.shutdown()
            gateway.proc.stdin.close()  # Java ends when its input does
            try:
                gateway.proc.wait(timeout=20)
            except Exception:
                gateway.proc.kill()
                gateway.proc.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


KINDS = {"duckdb": DuckDB, "deltars": DeltaRS, "polars": Polars, "spark": Spark}


def answer(reader, q):
    op = q["op"]
    if op == "rows":
        return {"rows": rows_of(reader.scan(q["path"], q.get("version"), q.get("columns")))}
    if op == "fingerprint":
        count, low, high = reader.fingerprint(q["path"], q.get("version"), q.get("columns"))
        return {"fingerprint": {"rows": count, "low": low, "high": high}}
    if op == "sql":
        return {"rows": rows_of(reader.sql(q["query"]))}
    if op == "exec":
        reader.execute(q["query"])
        return {}
    if op == "python":
        return {"rows": reader.python(q["query"], q.get("args"))}
    if op == "storage":
        reader.storage = q["args"]
        return {}
    raise ValueError(f"unknown op {op!r}")


def serve(kind):
    # Libraries print to standard output: give them standard error, and keep the pipe for answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    reader = None

    def reply(message):
        out.write(json.dumps(message) + "\n")
        out.flush()

    try:
        try:
            reader = KINDS[kind]()
        except Exception as e:
            traceback.print_exc()
            reply({"error": f"{type(e).__name__}: {e}"})
            return 1
        reply({})
        for line in sys.stdin:
            try:
                reply(answer(reader, json.loads(line)))
            except Exception as e:
                traceback.print_exc()
                reply({"error": f"{type(e).__name__}: {e}"})
    finally:
        if hasattr(reader, "close"):
            reader.close()
    return 0


def self_check():
    for kind, cls in KINDS.items():
        if cls is Spark:
            import delta  # noqa: F401
            import pyspark

            print(kind, pyspark.__version__)
        else:
            cls()
            print(kind, "ok")
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-check"]:
        sys.exit(self_check())
    if len(sys.argv) != 2 or sys.argv[1] not in KINDS:
        sys.exit(f"usage: readers.py --self-check | {'|'.join(KINDS)}")
    sys.exit(serve(sys.argv[1]))
