"""The SQLite peer of bench:query: sessions in one table with the usual indexes, in a file.

Reads requests as JSON, one a line, and answers each with one line. A `load` is followed by
tab-separated rows up to an empty line. Needs nothing but Python's own sqlite3 module.
"""

import json
import sqlite3
import sys
import time

COLUMNS = [
    ("session_id", "TEXT PRIMARY KEY"),
    ("user", "TEXT NOT NULL"),
    ("started_at", "INTEGER NOT NULL"),
    ("ended_at", "INTEGER"),
    ("duration_ms", "INTEGER"),
    ("source_ip", "TEXT NOT NULL"),
    ("dest_host", "TEXT NOT NULL"),
    ("dest_port", "INTEGER NOT NULL"),
    ("protocol", "TEXT NOT NULL"),
    ("status", "TEXT NOT NULL"),
    ("close_reason", "TEXT"),
    ("bytes_sent", "INTEGER NOT NULL"),
    ("bytes_received", "INTEGER NOT NULL"),
    ("packets_sent", "INTEGER NOT NULL"),
    ("packets_received", "INTEGER NOT NULL"),
]
INDEXES = ["user", "started_at", "dest_host", "status", "user, started_at"]
CHUNK_ROWS = 50_000


def rows(stream):
    for line in stream:
        line = line.rstrip("\n")
        if line == "":
            return
        yield [None if cell == "\\N" else cell for cell in line.split("\t")]


def load(db, stream):
    begun = time.perf_counter()
    # Loading is not what is measured.
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)
    places = ", ".join("?" for _ in COLUMNS)
    insert = f"INSERT INTO sessions VALUES ({places})"
    db.execute(f"CREATE TABLE sessions ({columns}) WITHOUT ROWID")
    count = 0
    chunk = []
    for row in rows(stream):
        chunk.append(row)
        if len(chunk) == CHUNK_ROWS:
            db.executemany(insert, chunk)
            count += len(chunk)
            chunk = []
    db.executemany(insert, chunk)
    count += len(chunk)
    for number, indexed in enumerate(INDEXES):
        db.execute(f"CREATE INDEX sessions_{number} ON sessions ({indexed})")
    db.execute("ANALYZE")
    db.commit()
    page_count = db.execute("PRAGMA page_count").fetchone()[0]
    page_size = db.execute("PRAGMA page_size").fetchone()[0]
    return {
        "rows": count,
        "seconds": time.perf_counter() - begun,
        "bytes": page_count * page_size,
        "version": sqlite3.sqlite_version,
    }


def ask(db, request):
    begun = time.perf_counter()
    found = db.execute(request["sql"], request["params"]).fetchall()
    return {"ms": (time.perf_counter() - begun) * 1000, "rows": len(found)}


def main():
    db = sqlite3.connect(sys.argv[1])
    # As a service would set it: a log beside the file, and 256 MiB of cache.
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -262144")
    # readline, because iterating reads ahead.
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        stream = iter(sys.stdin.readline, "")
        answer = load(db, stream) if request["do"] == "load" else ask(db, request)
        print(json.dumps(answer), flush=True)


main()
