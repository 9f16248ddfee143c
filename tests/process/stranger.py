"""stranger.py PROGRAM [FLAG ...]: how a server treats whoever does not come from this machine's loopback.

Runs in a network namespace of its own (unshare -rn), where an address that is not loopback belongs to nobody else. Prints one line
for each of two peers: the reply to PING, or the refusal."""

import socket
import subprocess
import sys
import time

ELSEWHERE, PORT = "192.0.2.7", 7000


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def ask(address):
    for _ in range(200):
        try:
            peer = socket.create_connection((address, PORT), 5)
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    with peer:
        try:
            peer.sendall(b"PING\r\n")
        except OSError:
            pass
        return peer.recv(4096).decode().split("\r\n")[0]


ip("link", "set", "lo", "up")
ip("address", "add", f"{ELSEWHERE}/32", "dev", "lo")
server = subprocess.Popen([*sys.argv[1:], "--port", str(PORT), "--bind", "*"], stdout=subprocess.DEVNULL)
try:
    print("127.0.0.2:", ask("127.0.0.2"))
    print(f"{ELSEWHERE}:", ask(ELSEWHERE))
finally:
    server.kill()
    server.wait()
