"""What an agent answers: who it is to everybody, and tasks to khealth."""

import contextlib
import json
import threading
import time

from khealth_exporter.canary import kernel
from khealth_exporter.canary.agent import apart, dns, http, round_trips, until
from khealth_exporter.canary.agent.auth import HEADER, Accepted, Denied, Guard
from khealth_exporter.canary.agent.question import MOST_SECONDS, BadQuestion, Document, decoded
from khealth_exporter.canary.agent.server import Exchange

_TASKS = {"dns": dns.run, "egress": apart.run, "round_trips": round_trips.run, "until": until.run}
_PREFIX = "/v1/"
_MOST_TASKS = 4
_MOST_ANSWER = 262_144
_SEND_SECONDS = 10.0
_WITHIN_SECONDS = 30.0


class Agent:
    """Answers requests. `name` and `node` say who and where it is."""

    def __init__(self, name: str, node: str, secret_file: str) -> None:
        self._name = name
        self._node = node
        self._guard = Guard(secret_file)
        self._free = threading.BoundedSemaphore(_MOST_TASKS)

    def check(self, head: http.Head) -> int:
        """Return the length of a request's body; raise http.Refused."""
        if head.path in {"/ready", "/ping"}:
            if head.method != "GET":
                raise http.Refused(405, "GET only")
            return 0
        if not head.path.startswith(_PREFIX):
            raise http.Refused(404, "not found")
        if head.method != "POST":
            raise http.Refused(405, "POST only")
        if head.path.removeprefix(_PREFIX) not in _TASKS:
            raise http.Refused(404, "unknown task")
        return http.length(head.headers)

    def reply(self, head: http.Head, body: bytes, exchange: Exchange) -> bytes | None:
        """Answer a request; a task takes the connection to a thread of its own. Raise http.Refused."""
        if head.path == "/ping":
            held = round((time.monotonic() - exchange.at) * 1e9)
            return http.answer(200, f"{self._name}\n".encode(), "text/plain", ((http.HELD, str(held)),))
        if head.path == "/ready":
            return http.answer(200, _encoded({"name": self._name, "boot": self._guard.boot}))
        try:
            accepted = self._guard.check(head.method, head.path, head.headers.get(HEADER.lower(), ""), body)
        except Denied as denied:
            return http.answer(401, _encoded({"error": str(denied), "boot": self._guard.boot}))
        return self._begin(head.path.removeprefix(_PREFIX), body, accepted, exchange)

    def _begin(self, task: str, body: bytes, accepted: Accepted, exchange: Exchange) -> bytes | None:
        if not self._free.acquire(blocking=False):
            return _signed(accepted, 429, _encoded({"error": "busy"}))
        try:
            threading.Thread(target=self._work, args=(task, body, accepted, exchange), daemon=True).start()
        except RuntimeError:  # The kernel gives no thread.
            self._free.release()
            return _signed(accepted, 429, _encoded({"error": "no thread"}))
        return None

    def _work(self, task: str, body: bytes, accepted: Accepted, exchange: Exchange) -> None:
        try:
            status, answer = self._done(task, body, exchange.at)
        finally:
            self._free.release()
        with contextlib.suppress(OSError), exchange.sock:
            exchange.sock.settimeout(_SEND_SECONDS)
            exchange.sock.sendall(_signed(accepted, status, answer))

    def _done(self, task: str, body: bytes, received: float) -> tuple[int, bytes]:
        """Return the status and the body of a task's answer."""
        waited = kernel.waited_here()
        try:
            question = decoded(body, received)
            within = question.number("within", _WITHIN_SECONDS, 0.001, MOST_SECONDS)
            document = _TASKS[task](question, received + within)
        except BadQuestion as bad:
            return 400, _encoded({"error": str(bad)})
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one task, the agent goes on
            return 500, _encoded({"error": f"{type(error).__name__}: {error}"[:500]})
        waiting = (kernel.waited_here() or 0.0) - (waited or 0.0)
        answer = _encoded(
            {
                "name": self._name,
                "node": self._node,
                "boot": self._guard.boot,
                "seconds": time.monotonic() - received,
                "waiting_seconds": waiting,
                **document,
            }
        )
        if len(answer) > _MOST_ANSWER:
            return 500, _encoded({"error": f"the answer has more than {_MOST_ANSWER} bytes"})
        return 200, answer


def _signed(accepted: Accepted, status: int, body: bytes) -> bytes:
    return http.answer(status, body, headers=((HEADER, accepted.proof(status, body)),))


def _encoded(document: Document) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
