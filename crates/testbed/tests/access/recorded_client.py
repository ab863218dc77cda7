"""A terminal worth recording: resizes, and characters that arrive in pieces. `PORT LOGIN KEY`."""

import asyncio
import sys

import asyncssh

port, login, key = sys.argv[1:]


async def until(process, word):
    seen = b""
    while word not in seen:
        piece = await asyncio.wait_for(process.stdout.read(4096), 60)
        assert piece, (seen, await process.stderr.read(), process.exit_status)
        seen += piece
    return seen


async def main():
    async with asyncssh.connect("127.0.0.1", int(port), username=login, client_keys=[key], known_hosts=None,
                                config=None, agent_path=None) as connection:
        process = await connection.create_process(term_type="xterm-256color", term_size=(101, 41), encoding=None)
        process.stdin.write(b"echo re''ady\n")
        await until(process, b"ready")
        # A character of two bytes and one of four, each in pieces.
        process.stdin.write(b"printf 'split: \\303'; sleep 0.3; printf '\\251'; printf '\\360\\237'; sleep 0.3; "
                            b"printf '\\246\\200 whole\\n'; echo sp''lit\n")
        seen = await until(process, b"split\r\n")
        assert "é🦀".encode() in seen, seen
        process.change_terminal_size(77, 22)
        await asyncio.sleep(0.3)
        process.stdin.write(b"stty size; echo si''zed\n")
        seen = await until(process, b"sized")
        assert b"22 77" in seen, seen
        process.stdin.write(b"exit 5\n")
        result = await process.wait()
        assert result.exit_status == 5, result


asyncio.run(main())
print("done")
