"""What asyncssh does with a login: `CASE PORT LOGIN KEY HOME`."""

import asyncio
import os
import sys

import asyncssh

case, port, login, key, home = sys.argv[1:]


async def commands(connection):
    for code in (0, 1, 77, 255):
        result = await connection.run(f"echo out; echo err >&2; exit {code}")
        assert (result.exit_status, result.stdout, result.stderr) == (code, "out\n", "err\n"), result
    result = await connection.run("cat", input="é🦀\n" * 20000)
    assert result.stdout == "é🦀\n" * 20000
    results = await asyncio.gather(*(connection.run(f"sleep 0.2; echo {i}") for i in range(20)))
    assert [r.stdout.strip() for r in results] == [str(i) for i in range(20)]
    result = await connection.run("echo $SOJOURN_TEST_B", env={"SOJOURN_TEST_B": "two words"})
    assert result.stdout == "two words\n", result


async def signals(connection):
    for name in ("TERM", "KILL", "SEGV"):
        result = await connection.run(f"kill -{name} $$")
        assert result.exit_signal and result.exit_signal[0] == name, result
        assert result.exit_status == -1, result
    process = await connection.create_process("trap 'echo caught; exit 8' USR1; echo ready; while :; do sleep 0.1; done")
    assert await process.stdout.readline() == "ready\n"
    process.send_signal("USR1")
    result = await process.wait()
    assert (result.exit_status, result.stdout) == (8, "caught\n"), result
    # OpenSSH loses a signal that comes before the command has a process group of its own.
    process = await connection.create_process("echo ready; exec sleep 300")
    assert await process.stdout.readline() == "ready\n"
    process.terminate()
    result = await process.wait()
    assert result.exit_signal and result.exit_signal[0] == "TERM", result


async def terminal(connection):
    async def until(process, word):
        seen = ""
        while word not in seen:
            piece = await process.stdout.read(4096)
            assert piece, seen
            seen += piece
        return seen

    process = await connection.create_process(term_type="xterm-256color", term_size=(101, 41), term_modes={asyncssh.PTY_ECHO: 0})
    process.stdin.write("PS1=; echo $TERM; stty size; stty -a | grep -o -- '-echo '; echo re''ady\n")
    seen = await until(process, "ready")
    assert "xterm-256color" in seen and "41 101" in seen and "-echo" in seen, seen
    process.stdin.write("trap 'stty size' WINCH; echo tra''pped\n")
    await until(process, "trapped")
    process.change_terminal_size(77, 22)
    process.stdin.write("sleep 0.2; echo wai''ted; stty size; echo sha''pe\n")
    seen = await until(process, "shape")
    assert "22 77" in seen, seen
    process.stdin.write("sleep 300\n")
    # Ctrl-C as the protocol's break and as a key.
    await asyncio.sleep(0.5)
    process.stdin.write("\x03")
    process.stdin.write("exit 12\n")
    result = await process.wait()
    assert result.exit_status == 12, result


async def files(connection):
    async with connection.start_sftp_client() as sftp:
        data = os.urandom(6_000_000)
        async with sftp.open("from-asyncssh", "wb") as file:
            await file.write(data)
        with open(os.path.join(home, "from-asyncssh"), "rb") as file:
            assert file.read() == data
        async with sftp.open("from-asyncssh", "rb") as file:
            assert await file.read() == data
        await sftp.rename("from-asyncssh", "renamed-by-asyncssh")
        assert "renamed-by-asyncssh" in await sftp.listdir(".")
        await sftp.remove("renamed-by-asyncssh")
        assert not await sftp.exists("renamed-by-asyncssh")


async def forward(connection):
    async def serve(reader, writer):
        writer.write(b"hello " + await reader.read())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    local = await connection.forward_local_port("127.0.0.1", 0, *address)
    remote = await connection.forward_remote_port("127.0.0.1", 0, *address)
    for listener in (local, remote):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
        writer.write(b"x" * 300_000)
        writer.write_eof()
        assert await reader.read() == b"hello " + b"x" * 300_000
        writer.close()
    remote.close()
    await remote.wait_closed()


async def main():
    async with asyncssh.connect("127.0.0.1", int(port), username=login, client_keys=[key], known_hosts=None,
                                config=None, agent_path=None, keepalive_interval=1) as connection:
        cases = {"commands": commands, "signals": signals, "terminal": terminal, "files": files, "forward": forward}
        await asyncio.wait_for(cases[case](connection), 120)


asyncio.run(main())
print("done")
