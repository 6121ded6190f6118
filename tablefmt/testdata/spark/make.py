"""Makes the tables of this folder with Spark and Delta Lake, and what Spark reads of them.

    make.py FOLDER     FOLDER/NAME/delta is the table, FOLDER/NAME/expected/VERSION the rows of that version as Parquet

It wants the Python and the jars that integration/testbed/install.sh installs, and LAKELOAD_TOOLS to name their folder. The tests of
integration/formats run the same statements and compare more; they read TABLES.
"""

# In every statement {t} is the table.
NESTED = """
    id LONG, `odd name, (x)` STRING, p STRING,
    s STRUCT<a: INT, `b c`: STRUCT<d: DOUBLE, e: ARRAY<STRUCT<x: INT, y: STRING>>>>,
    m MAP<STRING, STRUCT<k: INT, l: STRING>>,
    l ARRAY<ARRAY<INT>>, gone INT
"""

# The life of a mapped table: rows, renames, drops and additions at every depth, with the same name coming back as another type.
LIFE = [
    """INSERT INTO {t} VALUES
        (1, 'one', 'x', struct(10, struct(1.5D, array(struct(1, 'a'), null))), map('k', struct(1, 'l')), array(array(1, null), null), 7),
        (2, null, 'y', null, null, null, null),
        (3, 'three', null, struct(null, null), map('k', null, 'j', struct(null, 'm')), array(), 9)""",
    "ALTER TABLE {t} RENAME COLUMN `odd name, (x)` TO name",
    "ALTER TABLE {t} DROP COLUMN gone",
    "ALTER TABLE {t} ADD COLUMNS (gone STRING AFTER id, fresh DATE)",
    "INSERT INTO {t} (id, gone, name, p, s, m, l, fresh) VALUES "
    "(4, 'back', 'four', 'x', struct(40, struct(4.5D, array(struct(4, 'd')))), map('q', struct(4, 'r')), array(array(4)), DATE'2024-02-29')",
    "ALTER TABLE {t} RENAME COLUMN s.a TO aa",
    "ALTER TABLE {t} RENAME COLUMN s.`b c`.e.element.y TO `y y`",
    "ALTER TABLE {t} DROP COLUMN m.value.l",
    "ALTER TABLE {t} ADD COLUMNS (m.value.l INT, s.late TIMESTAMP, s.`b c`.e.element.z LONG)",
    "ALTER TABLE {t} RENAME COLUMN p TO part",
    "INSERT INTO {t} (id, gone, name, part, s, m, l, fresh) VALUES "
    "(5, 'five', 'five', 'z', struct(50, struct(5.5D, array(struct(5, 'e', 55L))), TIMESTAMP'2024-01-02 03:04:05.678901'), "
    "map('q', struct(5, 6)), array(array(5)), null)",
    "UPDATE {t} SET gone = 'updated' WHERE id IN (1, 4)",
    "DELETE FROM {t} WHERE id = 3",
]

WIDENED = """
    id INT,
    b2s BYTE, b2i BYTE, b2l BYTE, s2i SHORT, s2l SHORT, i2l INT, f2d FLOAT, b2d BYTE, s2d SHORT, i2d INT,
    b2dec BYTE, s2dec SHORT, i2dec INT, l2dec LONG, dec DECIMAL(6,2), dec2 DECIMAL(9,0), dec3 DECIMAL(18,6), d2t DATE,
    st STRUCT<a: SHORT, b: STRUCT<c: FLOAT>>, ar ARRAY<SHORT>, ma MAP<BYTE, FLOAT>, deep ARRAY<MAP<STRING, DECIMAL(5,1)>>,
    sa ARRAY<STRUCT<x: INT>>
"""

OLD = """
    (1, -128, -128, 127, -32768, 32767, -2147483648, 0.1F, -1, 32767, 2147483647,
     127, -32768, -2147483648, -9223372036854775808, -1234.56, 999999999, -123456789012.345678, DATE'0001-01-01',
     named_struct('a', 1S, 'b', named_struct('c', 0.1F)), array(1S, null), map(1Y, 0.1F, 2Y, null), array(map('k', 1234.5, 'n', null), null),
     array(named_struct('x', 1), null)),
    (2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
    (3, 127, 0, -128, 0, 0, 0, float('NaN'), 0, 0, 0, 0, 0, 0, 9223372036854775807, 0, -999999999, 0.000001, DATE'9999-12-31',
     named_struct('a', null, 'b', null), array(), map(), array(), array(named_struct('x', null)))
"""

CHANGES = [
    ("b2s", "SHORT"), ("b2i", "INT"), ("b2l", "LONG"), ("s2i", "INT"), ("s2l", "LONG"), ("i2l", "LONG"), ("f2d", "DOUBLE"),
    ("b2d", "DOUBLE"), ("s2d", "DOUBLE"), ("i2d", "DOUBLE"), ("b2dec", "DECIMAL(10,0)"), ("s2dec", "DECIMAL(12,2)"),
    ("i2dec", "DECIMAL(38,28)"), ("l2dec", "DECIMAL(20,0)"), ("dec", "DECIMAL(10,4)"), ("dec2", "DECIMAL(38,29)"), ("dec3", "DECIMAL(20,6)"),
    ("d2t", "TIMESTAMP_NTZ"), ("st.a", "INT"), ("st.b.c", "DOUBLE"), ("ar.element", "INT"), ("ma.key", "INT"), ("ma.value", "DOUBLE"),
    ("deep.element.value", "DECIMAL(12,3)"), ("sa.element.x", "LONG"),
]

NEW = """
    (4, -32768, -2147483648, 9223372036854775807, 2147483647, -9223372036854775808, 9223372036854775807, 0.1D, 0.5D, 1e300D, -0.25D,
     9999999999, 9999999999.99, 1234567890.0123456789012345678901234567, 99999999999999999999, 123456.7891, 123456789.00000000000000000000000000001, 99999999999999.999999,
     TIMESTAMP_NTZ'2024-02-29 01:02:03.456789',
     named_struct('a', 2147483647, 'b', named_struct('c', 0.1D)), array(2147483647), map(2147483647, 0.1D), array(map('k', 123456789.123)),
     array(named_struct('x', 9223372036854775807)))
"""


def widen(changes):
    return [f"ALTER TABLE {{t}} ALTER COLUMN {c} TYPE {t}" for c, t in changes]


def create(columns, partition="", **properties):
    listed = ", ".join(f"'{k.replace('__', '.')}' = '{v}'" for k, v in properties.items())
    return f"CREATE TABLE {{t}} ({columns}) USING delta {partition} TBLPROPERTIES ({listed})"


MAPPED = {"delta__enableDeletionVectors": "true", "delta__checkpointInterval": "6"}
WIDE = {"delta__enableTypeWidening": "true", "delta__feature__timestampNtz": "supported", "delta__checkpointInterval": "20",
        "delta__enableDeletionVectors": "true"}

TABLES = {
    "name": [create(NESTED, "PARTITIONED BY (p)", **MAPPED, delta__columnMapping__mode="name"), *LIFE],
    "id": [create(NESTED, "PARTITIONED BY (p)", **MAPPED, delta__columnMapping__mode="id"), *LIFE],
    # Reader version 2 and writer version 5, and files from before the mapping.
    "upgraded": [
        create(NESTED.replace("`odd name, (x)`", "odd").replace("`b c`", "b"), "PARTITIONED BY (p)",
               delta__checkpointInterval="4", delta__minReaderVersion="1", delta__minWriterVersion="2", delta__enableDeletionVectors="false"),
        LIFE[0],
        "ALTER TABLE {t} SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.minReaderVersion' = '2', 'delta.minWriterVersion' = '5')",
        *(s.replace("`odd name, (x)`", "odd").replace("`b c`", "b") for s in LIFE[1:]),
    ],
    "widened": [
        create(WIDENED, **WIDE),
        "INSERT INTO {t} VALUES" + OLD,
        *widen(CHANGES),
        "INSERT INTO {t} VALUES" + NEW,
        "DELETE FROM {t} WHERE id = 3",
    ],
    # Partition columns of every type that widens, a step at a time, and a mapping beside it.
    "widened_parts": [
        create("id LONG, v SHORT, bp BYTE, ip INT, fp FLOAT, dp DATE, cp DECIMAL(4,1)", "PARTITIONED BY (bp, ip, fp, dp, cp)",
               **WIDE, delta__columnMapping__mode="name"),
        "INSERT INTO {t} VALUES (1, 1, 1, 1, 0.1F, DATE'2024-02-29', 1.5), (2, null, null, null, null, null, null)",
        *widen([("bp", "SHORT"), ("v", "INT"), ("bp", "INT"), ("ip", "DOUBLE"), ("fp", "DOUBLE"), ("dp", "TIMESTAMP_NTZ"), ("cp", "DECIMAL(8,3)")]),
        "ALTER TABLE {t} RENAME COLUMN bp TO `b p`",
        "INSERT INTO {t} VALUES (3, 70000, 70000, 0.25, 0.1, TIMESTAMP_NTZ'2024-02-29 01:02:03.456789', 1234.567)",
        *widen([("v", "LONG"), ("`b p`", "LONG")]),
    ],
    "widened_preview": [
        create("id LONG, v BYTE", **{"delta__feature__typeWidening-preview": "supported"}, **WIDE),
        "INSERT INTO {t} VALUES (1, 1), (2, null)",
        *widen([("v", "LONG")]),
        "INSERT INTO {t} VALUES (3, 70000000000)",
    ],
    # Ids of list elements and map keys (delta.columnMapping.nested.ids).
    "nested_ids": [
        create("id LONG, l ARRAY<ARRAY<INT>>, m MAP<STRING, STRUCT<a: INT, b: ARRAY<STRING>>>", delta__columnMapping__mode="name",
               delta__enableIcebergCompatV2="true", delta__enableDeletionVectors="false"),
        "INSERT INTO {t} VALUES (1, array(array(1, null)), map('k', struct(1, array('x', null)))), (2, null, null)",
        "ALTER TABLE {t} RENAME COLUMN l TO ll",
        "ALTER TABLE {t} RENAME COLUMN m.value.b TO bb",
        "INSERT INTO {t} VALUES (3, array(array(3)), map('q', struct(3, array('y'))))",
    ],
}


def build(spark, path, name):
    """Makes a table; gives its last version."""
    for statement in TABLES[name]:
        spark.sql(statement.replace("{t}", f"delta.`{path}`"))
    return max(row.version for row in spark.sql(f"DESCRIBE HISTORY delta.`{path}`").collect())


def session():
    import glob
    import os
    import tempfile

    from pyspark.sql import SparkSession

    jars = sorted(glob.glob(os.path.join(os.environ["LAKELOAD_TOOLS"], "jars", "*.jar")))
    conf = {
        "spark.master": "local[2]", "spark.jars": ",".join(jars), "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog", "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.session.timeZone": "UTC", "spark.driver.extraJavaOptions": "-Duser.timezone=UTC -XX:TieredStopAtLevel=1", "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1", "spark.databricks.delta.snapshotPartitions": "1",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS", "spark.sql.warehouse.dir": tempfile.gettempdir(),
    }
    builder = SparkSession.builder
    for key, value in conf.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def main(folder, *names):
    import glob
    import os
    import shutil

    spark = session()
    for name in names or TABLES:
        home = os.path.join(os.path.abspath(folder), name)
        shutil.rmtree(home, ignore_errors=True)
        last = build(spark, os.path.join(home, "delta"), name)
        for version in range(last + 1):
            if last > 20 and version % 8 != 1 and version != last:
                continue
            frame = spark.read.format("delta").option("versionAsOf", version).load(os.path.join(home, "delta"))
            frame.coalesce(1).write.parquet(os.path.join(home, "expected", str(version)))
        for pattern in ("*.crc", ".*.crc", "_SUCCESS"):  # nothing that a reader needs
            for path in glob.glob(os.path.join(home, "**", pattern), recursive=True, include_hidden=True):
                os.remove(path)
        print(name, last)


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
