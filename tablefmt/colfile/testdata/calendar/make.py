"""Makes the files of this folder with Spark: dates and timestamps of the far past, as Spark writes them by the Julian calendar and by that of
everybody else, and as text what Spark reads of them.

    make.py FOLDER

It wants what tablefmt/testdata/spark/make.py wants.
"""

import glob
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "testdata", "spark"))
import make  # that one's session

DAYS = ["0001-01-01", "0100-02-28", "0100-03-01", "0200-03-01", "1000-02-28", "1000-03-01", "1500-02-28", "1500-03-01", "1582-10-04", "1582-10-15",
        "1700-03-01", "1970-01-01", "9999-12-31"]
QUERY = """SELECT CAST(d AS DATE) d, CAST(concat(d, ' 23:59:59.999999') AS TIMESTAMP) t, CAST(concat(d, ' 00:00:00') AS TIMESTAMP) i
           FROM (SELECT explode(array({})) d)""".format(", ".join(f"'{d}'" for d in DAYS))


def write(spark, folder, name, mode, kind, zone):
    for key in ("datetimeRebaseModeInWrite", "int96RebaseModeInWrite"):
        spark.conf.set("spark.sql.parquet." + key, mode)
    spark.conf.set("spark.sql.parquet.outputTimestampType", kind)
    spark.conf.set("spark.sql.session.timeZone", zone)
    there = os.path.join(folder, name)
    spark.sql(QUERY).coalesce(1).write.parquet(there)
    shutil.copy(glob.glob(there + "/*.parquet")[0], there + ".parquet")
    rows = spark.read.parquet(there).selectExpr("cast(d as string)", "cast(t as string)", "cast(i as string)").collect()
    shutil.rmtree(there)
    if zone != "UTC":
        return
    with open(there + ".txt", "w") as out:
        out.writelines(",".join(r) + "\n" for r in rows)


if __name__ == "__main__":
    session = make.session()
    for mode in ("LEGACY", "CORRECTED"):
        for kind in ("TIMESTAMP_MICROS", "TIMESTAMP_MILLIS", "INT96"):
            write(session, sys.argv[1], f"{mode.lower()}-{kind.lower()}", mode, kind, "UTC")
    write(session, sys.argv[1], "legacy-la", "LEGACY", "TIMESTAMP_MICROS", "America/Los_Angeles")
