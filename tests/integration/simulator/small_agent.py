"""The program of an agent's pod in the simulator's tests: it answers with its name, and tries what it is asked to try.

`GET /try?protocol=tcp&address=A&port=P&size=N&seconds=S` answers with what came back within S seconds, or with the name
of the error.
"""

import argparse
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qsl, urlsplit


class Handler(BaseHTTPRequestHandler):
    """Answers requests."""

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == "/try":
            answer = attempt(**dict(parse_qsl(asked.query)))
        elif asked.path == "/secret":
            answer = read(options.secret_file)
        elif asked.path == "/from":
            answer = self.client_address[0]
        elif asked.path == "/resolver":
            answer = read(os.environ["KHEALTH_RESOLV_CONF"])
        else:
            answer = f"{os.uname().nodename} {os.environ['KHEALTH_NODE']}"
        self.reply(200, answer)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(201, f"{self.path} {self.headers['X-Own']} {self.headers['Authorization']} {body.decode()}")

    def reply(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text.encode())))
        self.send_header("X-Proof", "proof")
        self.end_headers()
        self.wfile.write(text.encode())


def read(path: str) -> str:
    try:
        with open(path) as file:  # noqa: PTH123
            return file.read()
    except FileNotFoundError:
        return "missing"


def attempt(protocol: str, address: str, port: str, seconds: str, **further: str) -> str:
    """Try one round trip."""
    size, path = int(further.get("size", "10")), further.get("path", "/name")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM) as sock:
            sock.settimeout(float(seconds))
            sock.connect((address, int(port)))
            if protocol == "tcp":
                return "connected"
            if protocol == "udp":
                sock.send(b"." * size)
                return str(len(sock.recv(9000)))
            sock.send(f"GET {path} HTTP/1.0\r\nPadding: {'.' * size}\r\n\r\n".encode())
            return sock.makefile().read().rpartition("\n")[2]
    except OSError as error:
        return type(error).__name__


def echo(sock: socket.socket) -> None:
    """Send every datagram back."""
    while True:
        data, client = sock.recvfrom(9000)
        sock.sendto(data, client)


parser = argparse.ArgumentParser()
parser.add_argument("task")
parser.add_argument("--address")
parser.add_argument("--port", type=int)
parser.add_argument("--secret-file")
parser.add_argument("--linger", type=float, default=0.0)
options = parser.parse_args()
signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
signal.signal(
    signal.SIGTERM, lambda *_: signal.setitimer(signal.ITIMER_REAL, options.linger) or options.linger or os._exit(0)
)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind((options.address, options.port))
Thread(target=echo, args=(datagrams,), daemon=True).start()
sys.stderr.write("listening\n")
ThreadingHTTPServer((options.address, options.port), Handler).serve_forever()
