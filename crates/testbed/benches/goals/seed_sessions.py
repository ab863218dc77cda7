"""Copies the one session of an installation many times, over a year: `DATA_DIR COUNT`."""

import glob
import os
import random
import sqlite3
import sys

directory, count = sys.argv[1], int(sys.argv[2])
for file in glob.glob(os.path.join(directory, "**"), recursive=True):
    if os.path.isfile(file) and open(file, "rb").read(15) == b"SQLite format 3":
        database = sqlite3.connect(file)
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "access_sessions" in tables:
            break
else:
    sys.exit("no database with sessions")

random.seed(1)
database.execute("PRAGMA synchronous = OFF")
names = [row[1] for row in database.execute("PRAGMA table_info(access_sessions)")]
row = dict(zip(names, database.execute("SELECT * FROM access_sessions LIMIT 1").fetchone()))
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def identifier(millis):
    """A UUIDv7 in the TypeID text form."""
    value = millis << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62)
    return "sess_" + "".join(DIGITS[value >> shift & 31] for shift in range(125, -1, -5))


start = row["started_at"]
spread = 365 * 86400 * 1_000_000
times = [name for name in names if name.endswith("_at") and isinstance(row[name], int)]


def rows():
    for index in range(count):
        back = spread * (index + 1) // (count + 1)
        copy = dict(row, id=identifier((start - back) // 1000))
        for name in times:
            copy[name] = row[name] - back
        yield [copy[name] for name in names]


marks = ", ".join("?" * len(names))
with database:
    database.executemany(f"INSERT INTO access_sessions ({', '.join(names)}) VALUES ({marks})", rows())
    database.execute(
        "UPDATE access_session_counts SET sessions = sessions + ? WHERE user_id = ? AND protocol = ?",
        (count, row["user_id"], row["protocol"]),
    )
database.execute("ANALYZE")
database.close()
