"""Opens terminals, each over a connection of its own, and holds them: `COUNT PORT LOGIN KEY`."""

import asyncio
import sys

import asyncssh

count, port, login, key = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
few = asyncio.Semaphore(8)


async def one():
    async with few:
        connection = await asyncssh.connect("127.0.0.1", port, username=login, client_keys=[key], known_hosts=None,
                                            config=None, agent_path=None, login_timeout=300)
        process = await connection.create_process(term_type="xterm-256color", term_size=(120, 40))
        process.stdin.write("PS1=; echo re''ady\n")
        seen = ""
        while "ready" not in seen:
            seen += await process.stdout.read(4096)
        return connection, process


async def main():
    held = await asyncio.gather(*(one() for _ in range(count)))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    del held


asyncio.run(main())
