"""Makes the tables of this folder with Spark and Delta Lake: columns of the types variant, shredded or not, and void.

    make.py FOLDER [NAME...]    FOLDER/NAME/delta is the table
                                FOLDER/NAME/expected.jsonl its rows as Spark's to_json has them, in the order of id
                                FOLDER/NAME/parts.jsonl    id, metadata and value of the column v as Spark reads them, in hexadecimal

It wants what ../spark/make.py wants. The tests of integration/formats make the same tables and compare what they read with Spark's reading.
"""

import json

# Values that JSON can say.
TEXTS = [
    r'{"a":1,"b":"x","c":[1,2.5,null,true,"y"],"d":{"e":1e10,"f":"\u00e9\n\"q\\ \u0001\u001b\u007f\u20ac\ud83d\ude00 </a>"}}',
    "null", None, '"short"', "0", "-128", "127", "128", "-32768", "70000", "-2147483649", "9223372036854775807", "-9223372036854775808",
    "-1.25", "1.10", "100.0", "123456789012.345", "12345678901234567890.123456789", "99999999999999999999999999999999999999", "0.000",
    "1e300", "-2.5e-8", "1e7", "true", "false", "[]", "{}", "[[],{},[{}]]",
    '"' + "long " * 30 + '"', '""', '"' + "é" * 31 + '"', '"' + "é" * 32 + '"',
    '{"z":1,"a":{"z":2,"a":[{"k":1},{"k":"x"},{"k":null},{}]},"":0,"B":"upper"}',
    "{" + ",".join(f'"field{i}":{i}' for i in range(300)) + "}",
    "[" + ",".join(str(i * i * i) for i in range(300)) + "]",
    '["' + "wide" * 100 + '",1]',
    "[" * 200 + "7" + "]" * 200,
    r'{"\ufffd":1,"\ud83d\ude00":2,"\u00e9":3,"e":4}',  # in another order as UTF-16 than as bytes
    '{"a":"text","b":5,"c":7,"d":[1]}', '{"a":70000,"c":["x",1,null]}', '{"d":{"e":"no number","g":1}}',
]

# And those that it cannot.
TYPED = [
    "cast(X'00ff10' AS VARIANT)", "cast(X'' AS VARIANT)",
    "cast(DATE'0001-01-01' AS VARIANT)", "cast(DATE'2024-02-29' AS VARIANT)", "cast(DATE'9999-12-31' AS VARIANT)", "cast(DATE'-0044-03-15' AS VARIANT)",
    "cast(date_add(DATE'9999-12-31', 1) AS VARIANT)",
    "cast(TIMESTAMP'2024-02-29 01:02:03.4' AS VARIANT)", "cast(TIMESTAMP'1969-12-31 23:59:59.999999' AS VARIANT)",
    "cast(TIMESTAMP'1500-02-28 12:00:00' AS VARIANT)", "cast(TIMESTAMP_NTZ'2024-02-29 01:02:03.000001' AS VARIANT)",
    "cast(TIMESTAMP_NTZ'0001-01-01 00:00:00' AS VARIANT)",
    *(f"cast(cast({f} AS FLOAT) AS VARIANT)" for f in ("1.5", "0.1", "-0.0D", "1e7D", "3.4e38D", "1e-45D", "16777216")),
    *(f"cast({f}D AS VARIANT)" for f in ("0.1", "-0.0", "1e7", "9999999.5", "0.001", "0.00099", "1.7976931348623157e308", "123456789.125", "100")),
    *(f"cast({t}('{f}') AS VARIANT)" for t in ("float", "double") for f in ("NaN", "Infinity", "-Infinity")),
    *(f"cast({d} AS VARIANT)" for d in ("1.100BD", "100BD", "-0.001BD", "1e-30BD", "123456789.00BD", "cast(-5 AS DECIMAL(38,0))")),
    "to_variant_object(named_struct('by', X'cafe', 'da', DATE'2024-02-29', 'ts', TIMESTAMP'2024-02-29 01:02:03.4', 'nt', "
    "TIMESTAMP_NTZ'1500-02-28 23:59:59.999999', 'fl', 0.1F, 'do', 1e-5D, 'de', 1.10BD, 'bo', false, 'nu', cast(NULL AS STRING)))",
    "to_variant_object(map('k', array(1, null, 3), 'l', array()))",
]

VALUES = """
    SELECT id, IF(t IS NULL, NULL, parse_json(t)) v FROM texts UNION ALL
    SELECT * FROM (SELECT id, CASE id {cases} END v FROM RANGE(100, {end}) AS r(id))
""".format(cases=" ".join(f"WHEN {100 + i} THEN {e}" for i, e in enumerate(TYPED)), end=100 + len(TYPED))

COLUMNS = "id LONG, v VARIANT, s STRUCT<a: INT, v: VARIANT>, l ARRAY<VARIANT>, m MAP<STRING, VARIANT>"
NESTED = """INSERT INTO {t} SELECT /*+ COALESCE(1) */ id, v, IF(id = 2, NULL, named_struct('a', INT(id), 'v', w)),
            IF(id = 2, NULL, array(w, NULL, v)), map('k', w, 'n', NULL) FROM (SELECT *, IF(length(to_json(v)) > 300, NULL, v) w FROM vals)"""
FLAT = "INSERT INTO {t} SELECT /*+ COALESCE(1) */ id + %d, v FROM vals WHERE length(to_json(v)) < 300 OR v IS NULL"


def create(columns, **properties):
    listed = ", ".join(f"'{k.replace('__', '.')}' = '{v}'" for k, v in properties.items())
    return f"CREATE TABLE {{t}} ({columns}) USING delta TBLPROPERTIES ({listed})"


def shredded(schema, statement):
    """A statement whose files have this shredding; None lets Spark find one."""
    settings = {"spark.sql.variant.writeShredding.enabled": "true"}
    settings["spark.sql.variant.inferShreddingSchema"] = str(schema is None).lower()
    if schema is not None:
        settings["spark.sql.variant.forceShreddingSchemaForTest"] = schema
    return settings, statement


OBJECT = ("a LONG, b STRING, c ARRAY<INT>, d STRUCT<e DOUBLE, f STRING, g VARIANT>, ts TIMESTAMP, nt TIMESTAMP_NTZ, by BINARY, da DATE, "
          "fl FLOAT, do DOUBLE, de DECIMAL(5,2), bo BOOLEAN, nu STRING, k ARRAY<VARIANT>")
SCALARS = ["LONG", "INT", "SHORT", "BYTE", "STRING", "BOOLEAN", "DECIMAL(9,2)", "DECIMAL(18,3)", "DECIMAL(38,9)", "DATE", "TIMESTAMP",
           "TIMESTAMP_NTZ", "FLOAT", "DOUBLE", "BINARY", "ARRAY<VARIANT>", "ARRAY<STRUCT<k INT>>", "ARRAY<ARRAY<LONG>>", "VARIANT"]

VECTORS = {"delta__enableDeletionVectors": "true", "delta__checkpointInterval": "3"}
# Spark fails to write a checkpoint while a shredding is forced.
SHRED = {"delta__enableVariantShredding": "true", "delta__enableDeletionVectors": "true", "delta__checkpointInterval": "100"}

TABLES = {
    "variant": [
        create(COLUMNS, **VECTORS),
        NESTED,
        "DELETE FROM {t} WHERE id IN (7, 110)",
        "INSERT INTO {t} VALUES (1000, NULL, NULL, NULL, NULL)",
        "UPDATE {t} SET v = parse_json('[\"updated\"]') WHERE id = 8",
    ],
    "shredded": [
        create("id LONG, v VARIANT", **SHRED),
        *(shredded(s, FLAT % (1000 * (i + 1))) for i, s in enumerate(SCALARS)),
        "DELETE FROM {t} WHERE id IN (5001, 5002)",
    ],
    "shredded_object": [  # without arrays and maps: Spark fails to write them beside shredded columns
        create("id LONG, v VARIANT, s STRUCT<a: INT, v: VARIANT>", **SHRED, delta__columnMapping__mode="id"),
        shredded(OBJECT, "INSERT INTO {t} SELECT /*+ COALESCE(1) */ id, v, IF(id = 2, NULL, named_struct('a', INT(id), 'v', v)) FROM vals "
                         "WHERE length(to_json(v)) < 300 OR v IS NULL"),
        "ALTER TABLE {t} RENAME COLUMN s TO st",
    ],
    "inferred": [
        create("id LONG, v VARIANT", **SHRED, delta__columnMapping__mode="name"),
        "ALTER TABLE {t} RENAME COLUMN v TO w",
        shredded(None, """INSERT INTO {t} SELECT /*+ COALESCE(1) */ id, parse_json(concat('{"a":', id, ',"b":"s', id,
            '","c":[', id, ',2],"o":{"x":', id, '.5,"y":"2024"},"r', id % 3, '":', id, '}')) FROM RANGE(20)"""),
        shredded(None, "INSERT INTO {t} SELECT /*+ COALESCE(1) */ id + 100, v FROM vals WHERE id < 100 AND (length(to_json(v)) < 300 OR v IS NULL)"),
        "ALTER TABLE {t} RENAME COLUMN w TO v",
        "DELETE FROM {t} WHERE id IN (3, 104)",
    ],
    "preview": [
        create("id LONG, v VARIANT", **{"delta__feature__variantType-preview": "supported", "delta__feature__variantShredding-preview": "supported"}),
        FLAT % 0,
    ],
    "void": [
        create("id LONG, n VOID, s STRUCT<a: INT, z: VOID, t: STRUCT<y: VOID, b: STRING>>", **VECTORS),
        """INSERT INTO {t} VALUES (1, NULL, named_struct('a', 1, 'z', NULL, 't', named_struct('y', NULL, 'b', 'x'))),
           (2, NULL, NULL), (3, NULL, named_struct('a', NULL, 'z', NULL, 't', NULL))""",
        "INSERT INTO {t} (id) VALUES (4), (5)",
        "DELETE FROM {t} WHERE id = 5",
    ],
    # A column that was void until it got a type.
    "void_mapped": [
        create("n VOID, id LONG", **VECTORS, delta__columnMapping__mode="name"),
        "INSERT INTO {t} (id) VALUES (1), (2)",
        "ALTER TABLE {t} RENAME COLUMN n TO none",
        "INSERT INTO {t} (id) VALUES (3)",
    ],
}


def prepare(spark):
    spark.createDataFrame(list(enumerate(TEXTS)), "id LONG, t STRING").createOrReplaceTempView("texts")
    spark.sql(VALUES).createOrReplaceTempView("vals")


def build(spark, path, name):
    """Makes a table; gives its last version."""
    prepare(spark)
    for statement in TABLES[name]:
        settings = {}
        if isinstance(statement, tuple):
            settings, statement = statement
        for key, value in settings.items():
            spark.conf.set(key, value)
        try:
            spark.sql(statement.replace("{t}", f"delta.`{path}`"))
        finally:
            for key in settings:
                spark.conf.unset(key)
    return max(row.version for row in spark.sql(f"DESCRIBE HISTORY delta.`{path}`").collect())


def texts(spark, path):
    """The rows as one JSON text each."""
    frame = spark.read.format("delta").load(path).orderBy("id")
    return [r[0] for r in frame.selectExpr("to_json(struct(*), map('ignoreNullFields', 'false'))").collect()]


def parts(spark, path):
    """The two parts of v in each row."""
    frame = spark.read.format("delta").load(path)
    if "v" not in frame.columns:
        return []
    rows = frame.select("id", "v").orderBy("id").collect()
    return [[r.id, *([bytes(r.v.metadata).hex(), bytes(r.v.value).hex()] if r.v is not None else [None, None])] for r in rows]


def main(folder, *names):
    import glob
    import os
    import shutil
    import sys

    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "spark"))
    import make as other  # its session

    spark = other.session()
    for name in names or TABLES:
        home = os.path.join(os.path.abspath(folder), name)
        shutil.rmtree(home, ignore_errors=True)
        table = os.path.join(home, "delta")
        last = build(spark, table, name)
        with open(os.path.join(home, "expected.jsonl"), "w") as out:
            out.writelines(line + "\n" for line in texts(spark, table))
        with open(os.path.join(home, "parts.jsonl"), "w") as out:
            out.writelines(json.dumps(line) + "\n" for line in parts(spark, table))
        for pattern in ("*.crc", ".*.crc", "_SUCCESS"):  # nothing that a reader needs
            for path in glob.glob(os.path.join(home, "**", pattern), recursive=True, include_hidden=True):
                os.remove(path)
        print(name, last, flush=True)


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
