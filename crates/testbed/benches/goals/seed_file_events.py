"""Fills an installation with a file session of EVENTS events and SESSIONS others: `DATA_DIR EVENTS SESSIONS`.

Prints the id of the one.
"""

import glob
import os
import random
import sqlite3
import sys

directory, events, sessions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for file in glob.glob(os.path.join(directory, "**"), recursive=True):
    if os.path.isfile(file) and open(file, "rb").read(15) == b"SQLite format 3":
        database = sqlite3.connect(file)
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "file_events" in tables:
            break
else:
    sys.exit("no database with file sessions")

random.seed(1)
database.execute("PRAGMA synchronous = OFF")
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def identifier(kind, millis):
    """A UUIDv7 in the TypeID text form."""
    value = millis << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62)
    return kind + "_" + "".join(DIGITS[value >> shift & 31] for shift in range(125, -1, -5))


user, name = database.execute("SELECT id, name FROM users LIMIT 1").fetchone()
start = 1_704_067_200_000_000
connection = identifier("conn", start // 1000)
node = identifier("node", start // 1000)


def session(index):
    at = start - index * 60_000_000
    count = 0 if index else events
    return (
        identifier("fsess", at // 1000), user, name, connection, "Files Server", "sftp", "sftp://root@nas:22",
        "native", "192.0.2.1", node, None, at, at + 1_800_000_000, "closed", "", count, 0, count * 12_400, 0, 0,
    )


def event(one, index):
    at = start + index * 1_000
    return (
        one, at, identifier("evt", at // 1000), "upload", f"/var/www/html/site-{index % 100}/index-{index}.html",
        None, 12_400, 0, None, f"{random.getrandbits(256):064x}", "ok", "", 40_000,
    )


rows = [session(index) for index in range(sessions + 1)]
one = rows[0][0]
with database:
    database.executemany(f"INSERT INTO file_sessions VALUES ({', '.join('?' * 20)})", rows)
    database.executemany(
        f"INSERT INTO file_events VALUES ({', '.join('?' * 13)})", (event(one, index) for index in range(events))
    )
    database.execute(
        "INSERT INTO file_session_counts (user_id, protocol, sessions) VALUES (?, 'sftp', ?)", (user, sessions + 1)
    )
database.execute("ANALYZE")
database.close()
print(one)
