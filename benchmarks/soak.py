"""An hour without faults, with every routine at short intervals: khealth must find nothing."""

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.busy import COMPUTE
from benchmarks.everything import document, outside, restricted, routines, with_canaries, writable, write
from benchmarks.figures import Goal, conclude, plain_parser, table
from benchmarks.harness import free_port, program
from benchmarks.load import Load
from benchmarks.verdicts import INCONCLUSIVE, Log, Verdict

NAMESPACE = "bench-soak"
BEGINNING = 60.0
"""Seconds that khealth has to begin."""
AN_HOUR = 2000
"""Attempts, of all routines together."""
Counted = Mapping[str, Counter[str]]
"""By routine: how many attempts, and how many for each reason not to succeed, as `RESULT: REASON`."""


def counted(found: Sequence[Verdict]) -> Counted:
    """Count verdicts by routine."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for verdict in found:
        counts[verdict.routine]["attempts"] += 1
        if verdict.result != "success":
            counts[verdict.routine][f"{verdict.result}: {verdict.reason}"] += 1
    return counts


def bad(counts: Counted, result: str) -> int:
    """Return how many attempts had that result."""
    return sum(number for of in counts.values() for word, number in of.items() if word.startswith(f"{result}: "))


def goals(counts: Counted, seconds: float, *, loaded: bool) -> list[Goal]:
    """Return what a soak must reach; on a loaded machine khealth may say that it does not know."""
    attempts = sum(of["attempts"] for of in counts.values())
    silent = [name for name in routines() if not counts.get(name)]
    known = [
        Goal("attempts", attempts, AN_HOUR * seconds / 3600, at_least=True),
        Goal("failures", bad(counts, "failure"), 0),
        Goal("routines without an attempt", len(silent), 0),
    ]
    return known if loaded else [*known, Goal("inconclusive attempts", bad(counts, INCONCLUSIVE), 0)]


def observe(given: argparse.Namespace) -> Sequence[Verdict]:
    """Let khealth run for so long, beside so many programs, and return its verdicts."""
    seconds = 60 * given.minutes
    with ExitStack() as around:
        around.enter_context(restricted(NAMESPACE))
        around.enter_context(outside())
        around.enter_context(writable(given.host_path))
        folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
        file, port = write(folder / "config.yaml", document(NAMESPACE, given.image)), free_port()
        for _ in range(given.programs):
            around.enter_context(program("-c", COMPUTE, seconds + 2 * BEGINNING, apart=True))
        command = ("-m", "khealth_exporter", "run", "--config", file, "--listen", f"127.0.0.1:{port}")
        around.enter_context(program(*command, apart=True))
        log, end = Log(f"http://127.0.0.1:{port}"), time.monotonic() + seconds
        # /status keeps the latest hundred attempts of a routine.
        while time.monotonic() < end:
            time.sleep(max(0.0, min(10.0, end - time.monotonic())))
            log.look()
        return [seen.verdict for seen in log.since(0)]


def show(found: Sequence[Verdict], counts: Counted) -> None:
    """Print what was counted, and what each attempt said that did not succeed."""
    words = sorted({word for of in counts.values() for word in of} - {"attempts"})
    rows = [[name, counts[name]["attempts"], *(counts[name][word] for word in words)] for name in sorted(counts)]
    table("Attempts", ("routine", "attempts", *words), rows)
    for verdict in found:
        if verdict.result != "success":
            print(f"{time.strftime('%H:%M:%S', time.gmtime(verdict.began))} {verdict.routine}: {verdict.note}")


def main() -> int:
    """Take the figures; the exit code is 1 if a goal is missed."""
    arguments = with_canaries(plain_parser(__doc__))
    arguments.set_defaults(insist=True)
    arguments.add_argument("--minutes", type=float, default=60.0, help="how long")
    arguments.add_argument("--programs", type=int, default=0, help="that compute meanwhile")
    given = arguments.parse_args()
    with Load() as load:
        found = observe(given)
    counts = counted(found)
    show(found, counts)
    print(f"\nload average {load.figures()}")
    figures = {"minutes": given.minutes, "programs": given.programs, "load": load.figures(), "attempts": counts}
    reached = goals(counts, 60 * given.minutes, loaded=given.programs > 0)
    name = f"soak-{given.programs}" if given.programs else "soak"
    return conclude(name, figures, reached, insist=given.insist)


if __name__ == "__main__":
    sys.exit(main())
