"""What idle TLS connections cost: a scrape's latency and khealth's memory with 200 of them open, beside none."""

import base64
import http.client
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt
import trustme

from benchmarks.figures import Goal, conclude, parser, percentile, table
from benchmarks.harness import free_port, program
from benchmarks.process import Use, use

USER, PASSWORD, COST = "prometheus", "secret", 10
IDLE, ROUNDS, SCRAPES = 200, 20, 30
"""Short rounds: a machine that is busy for some seconds slows both ways alike."""
PAUSE = 0.01
"""Seconds between two scrapes: khealth is not to be kept busy by being asked."""
STARTING = 30.0
KEPT, FRESH = "kept connection", "new connection"
HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0",
    "Accept-Encoding": "gzip",
    "Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where khealth serves, what a client needs to trust it, and which process it is."""

    port: int
    trust: ssl.SSLContext
    pid: int

    def open(self) -> http.client.HTTPSConnection:
        """Return a connection that has been answered once."""
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=10, context=self.trust)
        ask(connection, "/-/ready")
        return connection


@dataclass(slots=True)
class Seen:
    """What was found with so many idle connections: seconds of each scrape by kind, resident memory in MiB."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {KEPT: [], FRESH: []})
    resident: list[float] = field(default_factory=list)


def ask(connection: http.client.HTTPSConnection, path: str) -> None:
    """Ask, and take the whole answer; ValueError if it is none."""
    connection.request("GET", path, headers=HEADERS)
    answer = connection.getresponse()
    answer.read()
    if answer.status != http.client.OK:
        raise ValueError(f"{path} is answered {answer.status}")


@contextmanager
def khealth(folder: Path) -> Iterator[Server]:
    """Run khealth against the simulator, with TLS and a password, until the block ends."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    issued = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode()
    web, kubeconfig = folder / "web.yaml", folder / "kubeconfig"
    text = (
        f"tls_server_config: {{cert_file: server.pem, key_file: server.pem}}\nbasic_auth_users: {{{USER}: {hashed}}}\n"
    )
    web.write_text(text, encoding="utf-8")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    port = free_port("localhost")
    with program("-m", "khealth_exporter.simulator", "--kubeconfig", kubeconfig):
        until(kubeconfig.exists, "the simulator")
        listen, level = f"localhost:{port}", ("--log.level", "error")
        words = ("run", "--kubeconfig", kubeconfig, "--web.config.file", web, "--listen", listen, *level)
        with program("-m", "khealth_exporter", *words) as process:
            server = Server(port, trust, process.pid)
            until(lambda: answers(server), "khealth")
            yield server


def answers(server: Server) -> bool:
    """Tell whether it serves yet."""
    try:
        server.open().close()
    except OSError:
        return False
    return True


def until(holds: object, what: str) -> None:
    """Return once something holds; end with what has not come if it takes too long."""
    end = time.monotonic() + STARTING
    while not (callable(holds) and holds()):
        if time.monotonic() > end:
            sys.exit(f"{what} did not start within {STARTING:g} s")
        time.sleep(0.1)


def scrape(server: Server, number: int, seen: Seen, end: float) -> None:
    """Scrape so many times in each of the two ways, by turns, and take the memory."""
    kept = server.open()
    for _ in range(number):
        if time.monotonic() > end:
            break
        begun = time.perf_counter()
        ask(kept, "/metrics")
        seen.seconds[KEPT].append(time.perf_counter() - begun)
        time.sleep(PAUSE)
        fresh = http.client.HTTPSConnection("localhost", server.port, timeout=10, context=server.trust)
        begun = time.perf_counter()
        ask(fresh, "/metrics")
        seen.seconds[FRESH].append(time.perf_counter() - begun)
        fresh.close()
        time.sleep(PAUSE)
    kept.close()
    seen.resident.append(use(server.pid).resident)


def observe(scrapes: int, idle: int, seconds: float) -> tuple[dict[int, Seen], float]:
    """Scrape with none and with so many idle connections open, by turns; and return the milliseconds of a handshake.

    These are khealth's processor time of opening a connection and asking once, of a kilobyte of answer.
    """
    end = time.monotonic() + seconds
    seen = {0: Seen(), idle: Seen()}
    spent = 0.0
    with ExitStack() as around:
        folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
        server = around.enter_context(khealth(folder))
        scrape(server, 50, Seen(), end)  # warm
        for _ in range(ROUNDS):
            scrape(server, scrapes, seen[0], end)
            before = use(server.pid)
            opened = [server.open() for _ in range(idle)]
            spent += cost(before, use(server.pid), idle)
            scrape(server, scrapes, seen[idle], end)
            for connection in opened:
                connection.close()
            time.sleep(0.5)
    return seen, spent / ROUNDS


def cost(before: Use, after: Use, number: int) -> float:
    """Return the processor time of each of so many, in milliseconds."""
    return 1000 * (after.cpu - before.cpu) / number


def summary(seen: Mapping[int, Seen]) -> dict[str, dict[str, float]]:
    """Return by kind of scrape and number of idle connections the percentiles in milliseconds, and their ratios."""
    none, most = min(seen), max(seen)
    rows: dict[str, dict[str, float]] = {}
    for kind in (KEPT, FRESH):
        for share in (0.5, 0.99):
            found = {count: 1000 * percentile(part.seconds[kind], share) for count, part in seen.items()}
            rows[f"{kind}, p{share * 100:g}, ms"] = _beside(found[none], found[most])
    # Memory that was once needed is not given back, so what counts as none was taken before the first was opened.
    rows["resident memory, MiB"] = _beside(seen[none].resident[0], seen[most].resident[-1])
    return rows


def _beside(none: float, most: float) -> dict[str, float]:
    return {"none open": none, "idle open": most, "ratio": most / none}


def goals(rows: Mapping[str, Mapping[str, float]], idle: int) -> Sequence[Goal]:
    """Return what is to be reached."""
    memory = rows["resident memory, MiB"]
    each = 1024 * (memory["idle open"] - memory["none open"]) / idle
    return [
        Goal(f"p99 on a {KEPT}, to that with none open", rows[f"{KEPT}, p99, ms"]["ratio"], 1.5),
        Goal(f"p99 on a {FRESH}, to that with none open", rows[f"{FRESH}, p99, ms"]["ratio"], 1.5),
        Goal("resident memory of an idle connection, KiB", each, 64.0),
    ]


def main() -> int:
    """Take the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--scrapes", type=int, default=SCRAPES, help="of each kind in each round")
    arguments.add_argument("--idle", type=int, default=IDLE, help="idle connections")
    given = arguments.parse_args()
    if not 1 <= given.idle <= IDLE or given.scrapes < 1:
        arguments.error(f"--idle must be 1 to {IDLE}, --scrapes at least 1")
    seen, handshake = observe(given.scrapes, given.idle, given.seconds)
    rows = summary(seen)
    number = len(seen[0].seconds[KEPT])
    title = f"{number} scrapes of each kind with none and with {given.idle} idle TLS connections open, by turns"
    table(title, ("figure", "none open", "idle open", "ratio"), [[name, *row.values()] for name, row in rows.items()])
    print(f"\nprocessor time of a handshake and a first answer: {handshake:.2f} ms")
    figures = {"scrapes": number, "idle": given.idle, "handshake_ms": handshake, "rows": rows}
    return conclude("scrape", figures, goals(rows, given.idle), insist=given.insist)


if __name__ == "__main__":
    sys.exit(main())
