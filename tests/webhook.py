"""A webhook receiver: records what Alertmanager sends, to which receiver, and when."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec


@dataclass(frozen=True)
class Notification:
    """One notification: when it came (Unix seconds), to which receiver, and what it says."""

    at: float
    receiver: str
    status: str
    alerts: tuple[Mapping[str, Any], ...]

    @property
    def outline(self) -> tuple[str, list[tuple[str, str]]]:
        """Its status, and each alert's name and component."""
        named = [(alert["labels"]["alertname"], alert["labels"].get("component", "")) for alert in self.alerts]
        return self.status, sorted(named)


class Webhook:
    """Keeps every notification; the last part of a URL's path is the receiver's name."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._came: list[Notification] = []

    def take(self, receiver: str, body: bytes) -> None:
        """Keep a notification."""
        now, said = time.time(), msgspec.json.decode(body)
        with self._lock:
            self._came.append(Notification(now, receiver, said["status"], tuple(said["alerts"])))

    def came(self, receiver: str, since: float = 0.0) -> list[Notification]:
        """Return what came for a receiver since then, in order."""
        with self._lock:
            return [said for said in self._came if said.receiver == receiver and said.at >= since]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Listen for notifications until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.take(self.path.rpartition("/")[2], self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Webhook(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
