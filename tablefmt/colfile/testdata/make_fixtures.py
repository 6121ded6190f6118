#!/usr/bin/env python3
"""Makes the Parquet files of this folder, with pyarrow 26.0.1.

All of them hold the table that fixtures_test.go describes by formula, in the
ways that other writers store it. `make_fixtures.py check FILE...` compares
files with that table instead, read by pyarrow and by DuckDB.
"""
import datetime
import decimal
import sys

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 200
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1)


def column(t, f):
    return pa.array([None if i % 7 == 3 else f(i) for i in range(ROWS)], t)


def dec(i, scale):
    return decimal.Decimal(i).scaleb(-scale, decimal.Context(prec=40))


def table():
    us = lambda i: i * 86_400_123_457 - 5_000_000_000_000
    ts = lambda i: EPOCH + datetime.timedelta(microseconds=us(i))
    cols = {
        "b": column(pa.bool_(), lambda i: i % 3 == 0),
        "i8": column(pa.int8(), lambda i: i % 256 - 128),
        "i16": column(pa.int16(), lambda i: i * 37 - 5000),
        "i32": column(pa.int32(), lambda i: i * 7919 - 1_000_000),
        "i64": column(pa.int64(), lambda i: i * 10**12 - 5 * 10**13),
        "f32": column(pa.float32(), lambda i: i / 4 - 10),
        "f64": column(pa.float64(), lambda i: i / 8 - 10),
        "d9": column(pa.decimal128(9, 2), lambda i: dec(i * 1001 - 100_000, 2)),
        "d18": column(pa.decimal128(18, 4), lambda i: dec(i * 10**15 - 10**17, 4)),
        "d38": column(pa.decimal128(38, 10), lambda i: dec(i * 10**34 - 10**36, 10)),
        "s": column(pa.string(), lambda i: f"text {i % 10}"),
        "u": column(pa.string(), lambda i: f"{i * 2654435761 % 2**32:08x}-ä"),
        "bin": column(pa.binary(), lambda i: bytes([i % 256, 0, 255])),
        "date": column(pa.date32(), lambda i: (EPOCH + datetime.timedelta(days=i * 100 - 15000)).date()),
        "ts": column(pa.timestamp("us", "UTC"), lambda i: ts(i).replace(tzinfo=UTC)),
        "ntz": column(pa.timestamp("us"), ts),
        "list": column(pa.list_(pa.int32()), lambda i: [i, None, i + 1][: i % 4]),
        "st": column(
            pa.struct([("a", pa.int64()), ("l", pa.list_(pa.string()))]),
            lambda i: {"a": None if i % 5 == 0 else i, "l": None if i % 4 == 0 else [f"x{i}"] * (i % 3)},
        ),
        "m": column(pa.map_(pa.string(), pa.string()), lambda i: [(f"k{k}", None if k == 1 else f"v{i}") for k in range(i % 3)]),
    }
    return pa.table(cols)


def make(t):
    flat = [n for n in t.column_names if n not in ("list", "st", "m")]
    w = lambda name, tab=t, **kw: pq.write_table(tab, name, data_page_size=512, **kw)
    w("dict-snappy-v1.parquet", compression="snappy")
    w("dict-zstd-v2.parquet", compression="zstd", data_page_version="2.0")
    w("plain-none-v1.parquet", compression="none", use_dictionary=False, row_group_size=60)
    w("plain-gzip-v2.parquet", compression="gzip", use_dictionary=False, data_page_version="2.0", write_page_checksum=True)
    w("plain-lz4-v2.parquet", compression="lz4", use_dictionary=False, data_page_version="2.0", row_group_size=99)
    w("plain-brotli-v1.parquet", compression="brotli", use_dictionary=False)
    w("decimal-ints.parquet", compression="zstd", store_decimal_as_integer=True, use_compliant_nested_type=False)
    w("int96.parquet", tab=t.select(flat), use_deprecated_int96_timestamps=True)
    ints = ["i8", "i16", "i32", "i64", "date", "ts", "ntz"]
    enc = {n: "DELTA_BINARY_PACKED" for n in ints}
    enc |= {"s": "DELTA_BYTE_ARRAY", "u": "DELTA_LENGTH_BYTE_ARRAY", "bin": "DELTA_BYTE_ARRAY", "b": "RLE"}
    enc |= {"f32": "BYTE_STREAM_SPLIT", "f64": "BYTE_STREAM_SPLIT", "d38": "DELTA_BYTE_ARRAY", "d18": "BYTE_STREAM_SPLIT"}
    enc |= {"list.list.element": "DELTA_BINARY_PACKED", "m.key_value.value": "DELTA_BYTE_ARRAY"}
    for v in ("1.0", "2.0"):
        w(f"delta-v{v[0]}.parquet", compression="zstd", use_dictionary=False, column_encoding=enc, data_page_version=v)
    split = {n: "BYTE_STREAM_SPLIT" for n in ("i8", "i16", "i32", "i64", "date", "ts")}
    w("split.parquet", compression="zstd", use_dictionary=False, column_encoding=split)
    other = {
        "i64": t["i64"],
        "u8": column(pa.uint8(), lambda i: i),
        "u16": column(pa.uint16(), lambda i: 65535 - i),
        "u32": column(pa.uint32(), lambda i: 2**32 - 1 - i),
        "u64": column(pa.uint64(), lambda i: 2**64 - 1 - i),
        "f16": column(pa.float16(), lambda i: i / 4),
        "ms": column(pa.timestamp("ms", "UTC"), lambda i: i * 1001 - 10**6),
        "ns": column(pa.timestamp("ns"), lambda i: i * 1001 - 10**5),
        "t": column(pa.time64("us"), lambda i: i * 10**6),
        "fixed": column(pa.binary(3), lambda i: bytes([i, 1, 2])),
        "d5": column(pa.decimal128(5, 1), lambda i: dec(i - 100, 1)),
    }
    w("other-types.parquet", tab=pa.table(other))


def check(files):
    import duckdb

    want = table()
    for f in files:
        got = pq.read_table(f, page_checksum_verification=True)
        assert got.column_names == want.column_names, got.column_names
        for n in want.column_names:
            assert got[n].to_pylist() == want[n].to_pylist(), (f, n)
            assert str(got.schema.field(n).type) == str(want.schema.field(n).type) or n in ("list", "st", "m"), got.schema.field(n)
        got = duckdb.sql(f"set TimeZone='UTC'; select * from '{f}'").to_arrow_table()
        for n in want.column_names:
            g, w = got[n].to_pylist(), want[n].to_pylist()
            if n == "m":
                g = [None if v is None else list(dict(v).items()) for v in g]
            assert g == w, (f, n, [(i, a, b) for i, (a, b) in enumerate(zip(g, w)) if a != b][:3])
        print("ok", f)


if __name__ == "__main__":
    if sys.argv[1:2] == ["check"]:
        check(sys.argv[2:])
    else:
        make(table())
