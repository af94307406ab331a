"""Compares the round trips that an agent reports with a path whose delays and losses are known. Needs root.

Two agents run in network namespaces of their own, between which a relay in user space carries every packet.
"""

import hashlib
import hmac
import http.client
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.figures import Goal, conclude, plain_parser, table
from benchmarks.slow_path import End, relay

DELAYS = (0.001, 0.005, 0.05)
LOSSES = (0.01, 0.05)
PORT = 8079
WITHIN = 0.0003
"""Seconds by which a median may differ from the truth."""
WAYS = {"tcp": 2, "udp": 2, "http": 4}
"""How often a round trip takes the path: an HTTP one has a handshake of its own."""
CONFIDENCE = 0.99
EDGES = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]


@dataclass(frozen=True, slots=True)
class Delayed:
    """Seconds that an agent reports of round trips, and how long the relay really held a packet on average."""

    delay: float
    held: float
    protocol: str
    median: float
    most: float
    uncertainty: float

    @property
    def error(self) -> float:
        """How far the median is from the truth, in seconds."""
        return self.median - WAYS[self.protocol] * self.delay

    @property
    def excess(self) -> float:
        """How far the median is from what the relay really did, in seconds."""
        return self.median - WAYS[self.protocol] * self.held


@dataclass(frozen=True, slots=True)
class Lossy:
    """Round trips that an agent reports as lost, and those whose first packet the relay lost."""

    loss: float
    protocol: str
    sent: int
    reported: int
    lost: int

    @property
    def expected(self) -> tuple[int, int]:
        """The binomial interval of losses."""
        return binomial(self.sent, self.loss, CONFIDENCE)


def binomial(count: int, share: float, confidence: float) -> tuple[int, int]:
    """Return the least and the most that happens so often, except in equal parts of the rest of the cases."""
    below, least = 0.0, None
    for number in range(count + 1):
        below += math.comb(count, number) * share**number * (1 - share) ** (count - number)
        if least is None and below > (1 - confidence) / 2:
            least = number
        if below >= (1 + confidence) / 2:
            return least or 0, number
    return least or 0, count


class Asked:
    """An agent at an end of the path."""

    def __init__(self, end: End, secret: Path) -> None:
        self.end = end
        self._secret = secret

    @contextmanager
    def running(self) -> Iterator["Asked"]:
        """Run it, without installed packages."""
        flags = ["--address", self.end.address, "--secret-file", str(self._secret), "--port", str(PORT)]
        process = self.end.thread.submit(self._start, flags).result()
        with process:
            try:
                yield self
            finally:
                process.terminate()

    def _start(self, flags: list[str]) -> subprocess.Popen[str]:
        command = [sys.executable, "-S", "-m", "khealth_exporter.canary", "agent", *flags]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None  # noqa: S101 - for the type checker
        process.stdout.readline()
        return process

    def round_trips(self, protocols: list[str], to: str, count: int, spacing: float) -> list[dict[str, Any]]:
        """Return what it says of round trips to another agent."""
        probes = [
            {"id": protocol, "protocol": protocol, "address": to, "port": PORT, "count": count, "spacing": spacing}
            for protocol in protocols
        ]
        question = json.dumps({"probes": probes, "edges": EDGES, "within": 60}).encode()
        results: list[dict[str, Any]] = self.end.thread.submit(self._ask, question).result()["results"]
        return results

    def _ask(self, body: bytes) -> dict[str, Any]:
        path, nonce = "/v1/round_trips", os.urandom(16).hex()
        boot = json.loads(self._request("GET", "/ready", b"", {}))["boot"]
        words = ("v1", "POST", path, boot, nonce, hashlib.sha256(body).hexdigest())
        mac = hmac.new(self._secret.read_bytes(), "\n".join(words).encode(), "sha256").hexdigest()
        document: dict[str, Any] = json.loads(
            self._request("POST", path, body, {"Khealth-Auth": f"v1;boot={boot};nonce={nonce};mac={mac}"})
        )
        return document

    def _request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        with closing(http.client.HTTPConnection(self.end.address, PORT, timeout=90)) as connection:
            connection.request(method, path, body, headers)
            return connection.getresponse().read()


def delayed(near: Asked, far: Asked, delay: float, count: int) -> Iterator[Delayed]:
    """Yield what the near agent reports of a path with a delay."""
    with relay(near.end, far.end, delay) as relayed:
        found = near.round_trips(list(WAYS), far.end.address, count, 0.02)
    held = fmean(relayed.held)
    for one in found:
        yield Delayed(delay, held, one["id"], one["median"], one["most"], one["uncertainty"])


def lossy(near: Asked, far: Asked, loss: float, count: int) -> Iterator[Lossy]:
    """Yield what the near agent reports of a path that loses packets."""
    with relay(near.end, far.end, DELAYS[0], loss, seed=count) as relayed:
        found = near.round_trips(["tcp", "udp"], far.end.address, count, 0.01)
    for one in found:
        yield Lossy(loss, one["id"], one["sent"], one["lost"], relayed.lost[one["id"]])


def goals(delays: list[Delayed], losses: list[Lossy]) -> list[Goal]:
    """Return what must hold."""
    outside = [one for one in losses if not one.expected[0] <= one.reported <= one.expected[1]]
    return [
        Goal("largest error of a median, ms", max(abs(one.error) for one in delays) * 1000, WITHIN * 1000),
        Goal("losses outside of the binomial interval", len(outside), 0),
        Goal("losses not reported, or invented", sum(abs(one.reported - one.lost) for one in losses), 0),
    ]


def main() -> int:
    """Measure, and print the figures."""
    made = plain_parser(__doc__)
    made.add_argument("--count", type=int, default=200, help="round trips of each protocol for each delay")
    made.add_argument("--loss-count", type=int, default=1000, help="round trips of each protocol for each loss")
    options = made.parse_args()
    with ExitStack() as stack:
        secret = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "secret"
        secret.write_bytes(os.urandom(32).hex().encode())
        near, far = (
            stack.enter_context(Asked(stack.enter_context(closing(End(number))), secret).running()) for number in (1, 2)
        )
        delays = [one for delay in DELAYS for one in delayed(near, far, delay, options.count)]
        losses = [one for loss in LOSSES for one in lossy(near, far, loss, options.loss_count)]
    heads = ["delay one way, ms", "protocol", "median", "error", "over the relay's own", "most", "uncertainty"]
    table("Milliseconds that an agent reports", heads, [_row(one) for one in delays])
    table(
        "Losses",
        ["share", "protocol", "sent", "reported", "of the relay", "expected in 99 %"],
        [[one.loss, one.protocol, one.sent, one.reported, one.lost, "{}-{}".format(*one.expected)] for one in losses],
    )
    figures = {"delays": [asdict(one) for one in delays], "losses": [asdict(one) for one in losses]}
    return conclude("latency_truth", figures, goals(delays, losses), insist=options.insist)


def _row(one: Delayed) -> list[object]:
    seconds = (one.median, one.error, one.excess, one.most, one.uncertainty)
    return [one.delay * 1000, one.protocol, *(value * 1000 for value in seconds)]


if __name__ == "__main__":
    sys.exit(main())
