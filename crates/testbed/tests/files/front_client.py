"""What paramiko does with our SFTP server: `PORT LOGIN KEY HOME`."""

import os
import sys

import paramiko

port, login, key, home = sys.argv[1:]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", port=int(port), username=login, key_filename=key, allow_agent=False,
               look_for_keys=False, timeout=60, banner_timeout=60, auth_timeout=60)
sftp = client.open_sftp()
content = os.urandom(2_000_003)


def on_target(name):
    with open(os.path.join(os.fsencode(home), os.fsencode(name)), "rb") as file:
        return file.read()


# Many requests in flight, both ways.
with sftp.open("prefetched", "wb") as file:
    file.set_pipelined(True)
    file.write(content)
assert on_target("prefetched") == content
with sftp.open("prefetched", "rb") as file:
    file.prefetch()
    assert file.read() == content

# Anywhere in a file.
with sftp.open("parts", "wb") as file:
    file.write(content)
with sftp.open("parts", "rb") as file:
    for at in (1_999_000, 10, 1_000_000):
        file.seek(at)
        assert sftp._request(paramiko.sftp.CMD_READ, file.handle, paramiko.sftp.int64(at), 100)[1].get_string() \
            == content[at:at + 100]

# A little out of order, and backwards.
with sftp.open("reordered", "wb") as file:
    for at in (32768, 0, 98304, 65536):
        sftp._request(paramiko.sftp.CMD_WRITE, file.handle, paramiko.sftp.int64(at), content[at:at + 32768])
assert on_target("reordered") == content[:131072]
with sftp.open("backwards", "wb") as file:
    for at in (0, 40000, 20000, 100):
        sftp._request(paramiko.sftp.CMD_WRITE, file.handle, paramiko.sftp.int64(at), content[at:at + 100])
written = on_target("backwards")
assert len(written) == 40100, len(written)
for at in (0, 40000, 20000, 100):
    assert written[at:at + 100] == content[at:at + 100]

# Appended, changed in place, cut.
with sftp.open("reordered", "ab") as file:
    file.write(b"more")
assert on_target("reordered") == content[:131072] + b"more"
with sftp.open("reordered", "r+b") as file:
    file.seek(5)
    file.write(b"HERE")
    file.seek(5)
    assert file.read(4) == b"HERE"
assert on_target("reordered")[:10] == content[:5] + b"HERE" + content[9:10]
sftp.truncate("reordered", 7)
assert on_target("reordered") == content[:5] + b"HE"
assert sftp.stat("reordered").st_size == 7

# Names are bytes.
with sftp.open(b"caf\xe9", "wb") as file:
    file.write(b"x")
assert on_target(b"caf\xe9") == b"x"
sftp.utime("parts", (1_600_000_000, 1_600_000_000))
assert sftp.stat("parts").st_mtime == 1_600_000_000
for bad in ("missing", "missing/deeper"):
    try:
        sftp.open(bad, "rb")
        raise SystemExit(f"{bad} was opened")
    except FileNotFoundError:
        pass
# Too many files.
files = []
try:
    for _ in range(300):
        files.append(sftp.open("parts", "rb"))
    raise SystemExit("there is no limit")
except OSError as error:
    assert "too many" in str(error), error
assert len(files) > 200
for file in files:
    file.close()
sftp.close()
client.close()
print("done")
