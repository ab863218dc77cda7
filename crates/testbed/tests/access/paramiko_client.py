"""What paramiko does with a login: `CASE PORT LOGIN KEY HOME`."""

import hashlib
import os
import socket
import sys
import threading
import time

import paramiko

case, port, login, key, home = sys.argv[1:]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("127.0.0.1", port=int(port), username=login, key_filename=key, allow_agent=False,
               look_for_keys=False, timeout=60, banner_timeout=60, auth_timeout=60)
client.get_transport().set_keepalive(1)


def read_until(channel, word):
    channel.settimeout(60)
    seen = b""
    while word not in seen:
        piece = channel.recv(4096)
        assert piece, seen
        seen += piece
    return seen


def commands():
    for code in (0, 1, 77, 255):
        _, stdout, _ = client.exec_command(f"exit {code}")
        assert stdout.channel.recv_exit_status() == code
    stdin, stdout, stderr = client.exec_command("cat; echo problem >&2")
    stdin.write("données\n" * 10000)
    stdin.channel.shutdown_write()
    assert stdout.read() == "données\n".encode() * 10000
    assert stderr.read() == b"problem\n"
    # Several at once in one connection.
    running = [client.exec_command(f"sleep 0.2; echo {i}") for i in range(10)]
    assert [out.read().decode().strip() for _, out, _ in running] == [str(i) for i in range(10)]


def shell():
    channel = client.invoke_shell(term="xterm", width=90, height=31)
    channel.send("PS1=; stty size; echo re''ady\n")
    assert b"31 90" in read_until(channel, b"ready")
    channel.resize_pty(width=132, height=50)
    deadline = time.time() + 60
    while True:
        channel.send("stty size; echo o''k\n")
        if b"50 132" in read_until(channel, b"ok"):
            break
        assert time.time() < deadline
    channel.send("exit 6\n")
    assert channel.recv_exit_status() == 6


def files():
    sftp = client.open_sftp()
    data = os.urandom(6_000_000)
    with sftp.open("from-paramiko", "wb") as file:
        file.set_pipelined(True)
        file.write(data)
    assert sftp.stat("from-paramiko").st_size == len(data)
    with open(os.path.join(home, "from-paramiko"), "rb") as file:
        assert hashlib.sha256(file.read()).digest() == hashlib.sha256(data).digest()
    with sftp.open("from-paramiko", "rb") as file:
        file.prefetch()
        assert file.read() == data
    sftp.posix_rename("from-paramiko", "renamed-by-paramiko")
    assert "renamed-by-paramiko" in sftp.listdir(".")
    sftp.remove("renamed-by-paramiko")
    try:
        sftp.stat("renamed-by-paramiko")
        raise AssertionError("it is still there")
    except FileNotFoundError:
        pass


def forward():
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = server.accept()
        while piece := connection.recv(65536):
            connection.sendall(piece)
        connection.close()

    threading.Thread(target=serve, daemon=True).start()
    channel = client.get_transport().open_channel("direct-tcpip", server.getsockname(), ("127.0.0.1", 1))
    channel.settimeout(60)
    channel.sendall(b"through " * 1000)
    back = b""
    while len(back) < 8000:
        back += channel.recv(4096)
    assert back == b"through " * 1000
    channel.close()
    # The other way round.
    taken = client.get_transport().request_port_forward("127.0.0.1", 0)
    one = socket.create_connection(("127.0.0.1", taken), timeout=60)
    other = client.get_transport().accept(60)
    assert other is not None
    one.sendall(b"back")
    assert other.recv(4) == b"back"
    client.get_transport().cancel_port_forward("127.0.0.1", taken)


{"commands": commands, "shell": shell, "files": files, "forward": forward}[case]()
client.close()
print("done")
