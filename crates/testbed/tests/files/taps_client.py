"""What other SSH libraries do with files: `LIBRARY PORT LOGIN KEY FOLDER`."""

import asyncio
import os
import sys

library, port, login, key, folder = sys.argv[1:]
data = bytes(range(256)) * 2000


def paramiko_case():
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", port=int(port), username=login, key_filename=key, allow_agent=False,
                   look_for_keys=False, timeout=60, banner_timeout=60, auth_timeout=60)
    sftp = client.open_sftp()
    sftp.mkdir(folder)
    with sftp.open(folder + "/file", "wb") as file:
        file.set_pipelined(True)
        file.write(data)
    with sftp.open(folder + "/file", "rb") as file:
        file.prefetch()
        assert file.read() == data
    with sftp.open(folder + "/file", "r+b") as file:
        file.seek(1000)
        file.write(b"changed")
    with sftp.open(folder + "/file", "ab") as file:
        file.write(b"appended")
    sftp.truncate(folder + "/file", 10)
    sftp.symlink("file", folder + "/link")
    assert sorted(sftp.listdir(folder)) == ["file", "link"]
    try:
        sftp.open(folder + "/none", "rb")
        raise AssertionError("it is there")
    except FileNotFoundError:
        pass
    sftp.remove(folder + "/link")
    sftp.remove(folder + "/file")
    sftp.rmdir(folder)
    sftp.close()
    client.close()


async def asyncssh_case():
    import asyncssh

    async with asyncssh.connect("127.0.0.1", int(port), username=login, client_keys=[key], known_hosts=None,
                                config=None, agent_path=None) as connection:
        async with connection.start_sftp_client() as sftp:
            await sftp.mkdir(folder)
            async with sftp.open(folder + "/file", "wb") as file:
                await file.write(data)
            async with sftp.open(folder + "/file", "rb") as file:
                assert await file.read() == data
            await sftp.chmod(folder + "/file", 0o600)
            await sftp.rename(folder + "/file", folder + "/other")
            assert sorted(await sftp.listdir(folder)) == [".", "..", "other"]
            await sftp.remove(folder + "/other")
            await sftp.rmdir(folder)


if library == "paramiko":
    paramiko_case()
else:
    asyncio.run(asyncssh_case())
print("done")
