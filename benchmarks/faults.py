"""The fault table: every fault really made, with every routine running; who notices, how soon, and who is blamed."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import fault_page
from benchmarks.alerts import Alerts, evaluated
from benchmarks.breaking import Scene
from benchmarks.breaking_network import spread_dns
from benchmarks.everything import document, named, outside, restricted, routines, with_canaries, writable, write
from benchmarks.fault_rows import BY_NAME, ROWS, Row
from benchmarks.figures import conclude, plain_parser, table
from benchmarks.harness import free_port, program
from benchmarks.kit import Kit, wait_for
from benchmarks.outcome import LOOK, Outcome, goals, judged
from benchmarks.pager import found
from benchmarks.verdicts import Log

NAMESPACE = "bench-faults"
KNOWN = Path(__file__).with_name("fault-table.json")
"""What has been measured of each row so far."""
PATIENCE = 420.0
"""Seconds within which all is well again, the slowest attempt that was under way included."""
CALM = 5.0
"""Seconds in which all must be well before something is broken."""


@contextmanager
def stage(given: argparse.Namespace, folder: Path) -> Iterator[Scene]:
    """Let khealth run with every routine until the block ends."""
    kit, port, file = Kit.known(), free_port(), folder / "khealth.yaml"
    spread_dns()
    with restricted(NAMESPACE), outside(), writable(given.host_path):
        write(file, document(NAMESPACE, given.image))
        command = ("-m", "khealth_exporter", "run", "--config", file, "--listen", f"127.0.0.1:{port}")
        with program(*command, apart=True):
            yield Scene(kit, NAMESPACE, given.image, f"http://127.0.0.1:{port}", file, given.nodes, given.address)


def measured(row: Row, scene: Scene, folder: Path) -> Outcome:
    """Make a fault when all is well, look at what comes of it, and mend it."""
    outcome = Outcome(row.name, datetime.now(UTC).isoformat(timespec="seconds"))
    log = Log(scene.khealth)
    try:
        with evaluated(folder, scene.khealth) as alerts:
            _wait_until_well(log, alerts)
            broken = mended = time.time()
            try:
                with row.fault(scene):
                    broken = time.time()
                    _watch(row, log, alerts, outcome, broken)
                mended = time.time()
                outcome.well_seconds = _well_again(log, mended)
            finally:
                judged(outcome, log.since(broken), broken, mended)
                outcome.pages = sorted(alerts.pages())
    except Exception as error:  # noqa: BLE001 - the other rows are to be measured nevertheless
        outcome.error = f"{type(error).__name__}: {error}"
    return outcome


def _wait_until_well(log: Log, alerts: Alerts) -> None:
    """Return when every routine has succeeded, and no page is due; twice, because calm takes a while."""

    def well() -> bool:
        log.look()
        return log.well(0.0) and len(log.latest()) == len(routines()) and alerts.knows(len(routines()))

    wait_for("a success of every routine", well, PATIENCE)
    time.sleep(CALM)
    wait_for("a success of every routine", well, PATIENCE)


def _watch(row: Row, log: Log, alerts: Alerts, outcome: Outcome, broken: float) -> None:
    """Look until every routine has a verdict and the page has come, or until the row's time is over."""
    while time.time() < broken + row.seconds:
        time.sleep(LOOK / 2)
        log.look()
        outcome.tickets = sorted({*outcome.tickets, *alerts.tickets()})
        pages = alerts.pages()
        if pages and outcome.page_seconds is None:
            outcome.page_seconds = round(time.time() - broken, 1)
        seen = {one.verdict.routine for one in log.since(broken) if one.verdict.began >= broken}
        if seen.issuperset(routines()) and (pages or not row.page) and time.time() >= broken + _long_enough(row):
            break


def _long_enough(row: Row) -> float:
    """Return how long a row lasts at least, in seconds: where no page is due, one that comes must have had its time."""
    longest = max(named(routine).interval for routine in routines())
    return 0.0 if row.page else min(row.seconds, longest)


def _well_again(log: Log, mended: float) -> float | None:
    def well() -> bool:
        log.look()
        return log.well(mended)

    try:
        wait_for("a success of every routine", well, PATIENCE)
    except TimeoutError:
        return None
    return round(time.time() - mended, 1)


def known() -> dict[str, Outcome]:
    """Return what has been measured so far, by row."""
    if not KNOWN.exists():
        return {}
    return {name: Outcome.of(one) for name, one in json.loads(KNOWN.read_text(encoding="utf-8")).items()}


def keep(outcome: Outcome) -> None:
    """Add a row to what has been measured."""
    every = known() | {outcome.name: outcome}
    text = json.dumps({name: one.document() for name, one in every.items()}, indent=2)
    KNOWN.write_text(f"{text}\n", encoding="utf-8")


def show(outcomes: Sequence[Outcome]) -> None:
    """Print who said what."""
    rows = [
        [one.name, notice.routine, notice.said, notice.reason, notice.seconds]
        for one in outcomes
        for notice in one.notices
    ]
    table("Notices", ("fault", "routine", "says", "reason", "seconds"), rows)
    heads = ("fault", "pages", "after", "tickets", "unaware", "silent", "well again after", "error")
    more = [
        [one.name, *map(_joined, (one.pages,)), one.page_seconds, *map(_joined, (one.tickets, one.unaware, one.silent)),
         one.well_seconds, one.error]
        for one in outcomes
    ]  # fmt: skip
    table("Rows", heads, more)


def _joined(words: Sequence[str]) -> str:
    return " ".join(words) or "none"


def parsed() -> argparse.Namespace:
    """Return what the command line says."""
    arguments = with_canaries(plain_parser(__doc__))
    arguments.add_argument("--rows", default=",".join(BY_NAME), help="names of faults, separated by commas")
    arguments.add_argument("--write", action="store_true", help="write docs/faults.md from all rows measured so far")
    arguments.add_argument("--address", default="198.18.0.1", help="where the API server reaches this machine")
    kubeconfig = Path(os.environ.get("KUBECONFIG", "kubeconfig"))
    arguments.add_argument("--nodes", type=Path, default=kubeconfig.parent / "nodes", help="the nodes' folders")
    given = arguments.parse_args()
    unknown = [name for name in given.rows.split(",") if name and name not in BY_NAME]
    if unknown:
        arguments.error(f"no such row: {', '.join(unknown)}; known: {', '.join(BY_NAME)}")
    return given


def main() -> int:
    """Make the faults."""
    given = parsed()
    for name in ("prometheus", "alertmanager"):
        found(name)
    # What is broken must be mended, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    outcomes = []
    with ExitStack() as around:
        folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
        scene = around.enter_context(stage(given, folder))
        for name in filter(None, given.rows.split(",")):
            outcome = measured(BY_NAME[name], scene, folder / name)
            keep(outcome)
            show([outcome])
            outcomes.append(outcome)
    if given.write:
        fault_page.write(ROWS, known())
    reached = [goal for outcome in outcomes for goal in goals(BY_NAME[outcome.name], outcome)]
    return conclude("faults", {one.name: one.document() for one in outcomes}, reached, insist=given.insist)


if __name__ == "__main__":
    sys.exit(main())
