"""What paramiko and asyncssh do with any target through our SFTP server: `LIBRARY PORT LOGIN KEY FOLDER DISK`, the folder as
clients see it and as it stands on this machine's disk."""

import asyncio
import os
import random
import sys

library, port, login, key, folder, disk = sys.argv[1:]
content = random.Random(7).randbytes(2_000_003)


def at(name):
    return f"{folder}/{name}"


def on_target(name):
    with open(os.path.join(disk, name), "rb") as file:
        return file.read()


def with_paramiko():
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", port=int(port), username=login, key_filename=key, allow_agent=False,
                   look_for_keys=False, timeout=60, banner_timeout=60, auth_timeout=60)
    sftp = client.open_sftp()
    sftp.mkdir(at("p"))
    # Many requests in flight, both ways.
    with sftp.open(at("p/up"), "wb") as file:
        file.set_pipelined(True)
        file.write(content)
    assert on_target("p/up") == content
    with sftp.open(at("p/up"), "rb") as file:
        file.prefetch()
        assert file.read() == content
    # Anywhere in a file.
    with sftp.open(at("p/up"), "rb") as file:
        for offset in (1_999_000, 10, 1_000_000):
            file.seek(offset)
            assert file.read(100) == content[offset:offset + 100]
    with sftp.open(at("p/up"), "ab") as file:
        file.write(b"more")
    assert on_target("p/up") == content + b"more"
    sftp.rename(at("p/up"), at("p/moved"))
    assert sorted(sftp.listdir(at("p"))) == ["moved"]
    assert sftp.stat(at("p/moved")).st_size == len(content) + 4
    try:
        sftp.open(at("p/missing"), "rb")
        raise SystemExit("what is missing was opened")
    except FileNotFoundError:
        pass
    sftp.remove(at("p/moved"))
    sftp.rmdir(at("p"))
    client.close()


async def with_asyncssh():
    import asyncssh

    async with asyncssh.connect("127.0.0.1", port=int(port), username=login, client_keys=[key], known_hosts=None,
                                agent_path=None, config=None) as connection:
        async with connection.start_sftp_client() as sftp:
            await sftp.mkdir(at("a"))
            # Blocks are written and read by many requests at once.
            async with sftp.open(at("a/up"), "wb") as file:
                await file.write(content)
            assert on_target("a/up") == content
            async with sftp.open(at("a/up"), "rb") as file:
                assert await file.read() == content
            local = os.path.join(os.path.dirname(os.path.abspath(__file__)), "local")
            with open(local, "wb") as file:
                file.write(content)
            await sftp.put(local, at("a/put"), block_size=32768, max_requests=16)
            assert on_target("a/put") == content
            await sftp.get(at("a/put"), local + ".back", block_size=32768, max_requests=16)
            with open(local + ".back", "rb") as file:
                assert file.read() == content
            await sftp.rename(at("a/put"), at("a/moved"))
            names = sorted(name for name in await sftp.listdir(at("a")) if name not in (".", ".."))
            assert names == ["moved", "up"], names
            assert (await sftp.stat(at("a/moved"))).size == len(content)
            try:
                await sftp.stat(at("a/missing"))
                raise SystemExit("what is missing was found")
            except asyncssh.SFTPNoSuchFile:
                pass
            await sftp.remove(at("a/moved"))
            await sftp.remove(at("a/up"))
            await sftp.rmdir(at("a"))


if library == "paramiko":
    with_paramiko()
else:
    asyncio.run(with_asyncssh())
print("done")
