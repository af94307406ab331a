"""docs/faults.md: the fault table as a page."""

import json
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.alerts import FACTOR
from benchmarks.everything import named, routines
from benchmarks.fault_rows import NOBODY, Row
from benchmarks.harness import ROOT, kubectl
from benchmarks.outcome import Outcome, goals, wrong
from benchmarks.verdicts import INCONCLUSIVE
from khealth_exporter import __version__

PAGE = ROOT / "docs" / "faults.md"
_HEAD = """\
# Faults and what khealth says

<!-- Written by `python -m benchmarks.faults --write`; do not edit. -->

Each fault below was made on a real cluster (Kubernetes {kubernetes}, {nodes} nodes) {when}. khealth {version} ran every
routine at short intervals.

```sh
python -m benchmarks.faults --write
```

[benchmarks/README.md](../benchmarks/README.md) says what the command needs. All times are since the fault was complete:
a program that is stopped takes up to 10 s to end, and may refuse requests earlier. They include the wait for the
routine's next attempt. The intervals were up to {longest:g} s, and the timeouts
up to {most:g} s. The alerts and their routes were {factor:g} times as fast as the shipped ones.
"""


def page(rows: Sequence[Row], outcomes: Mapping[str, Outcome], about: Mapping[str, object]) -> str:
    """Return the page; rows that were not measured are left out, and named."""
    measured = [(row, outcomes[row.name]) for row in rows if row.name in outcomes]
    dates = sorted(outcome.date[:10] for _, outcome in measured)
    when = f"on {dates[0]}" if dates[0] == dates[-1] else f"between {dates[0]} and {dates[-1]}"
    parts = [_HEAD.format(when=when, **about), "\n".join(_table(measured)), "\n".join(_details(measured))]
    if left := [f"`{row.name}`" for row in rows if row.name not in outcomes]:
        parts.append(f"Not measured: {', '.join(left)}.\n")
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _table(measured: Sequence[tuple[Row, Outcome]]) -> Iterator[str]:
    heads = ("fault", "component to blame", "first notice", "noticed by", "blamed a healthy component", "page", "met")
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row, outcome in measured:
        told = {notice.routine for notice in outcome.notices}
        first = next((f"{notice.seconds:g} s" for notice in outcome.notices if notice.said == row.component), "none")
        blamed = ", ".join(sorted({f"`{notice.routine}`" for notice in wrong(row, outcome)})) or "none"
        yield (
            f"| [{row.what}](#{row.name}) | {_named(row.component)} | {first} "
            f"| {len(told)} of {len(told) + len(outcome.unaware)} routines | {blamed} "
            f"| {_pages(outcome)} | {_kept(row, outcome)} |"
        )


def _kept(row: Row, outcome: Outcome) -> str:
    return "yes" if all(goal.met for goal in goals(row, outcome)) else "no"


def _named(component: str) -> str:
    return component if component in {INCONCLUSIVE, NOBODY} else f"`{component}`"


def _pages(outcome: Outcome) -> str:
    pages = ", ".join(f"`{name}`" for name in outcome.pages)
    return (
        f"{pages} after {outcome.page_seconds:g} s" if pages and outcome.page_seconds is not None else pages or "none"
    )


def _details(measured: Sequence[tuple[Row, Outcome]]) -> Iterator[str]:
    for row, outcome in measured:
        yield f"## {row.name}\n"
        yield f"Fault: {row.what}. {_afterwards(outcome)}\n"
        yield "| routine | says | reason | first after |"
        yield "|---|---|---|---|"
        for notice in outcome.notices:
            yield f"| `{notice.routine}` | {_named(notice.said)} | `{notice.reason}` | {notice.seconds:g} s |"
        for name in outcome.unaware:
            yield f"| `{name}` | success | | |"
        yield ""
        if outcome.silent:
            yield f"Without an attempt in that time: {', '.join(f'`{name}`' for name in outcome.silent)}.\n"
        if outcome.tickets:
            yield f"Tickets: {', '.join(f'`{name}`' for name in outcome.tickets)}.\n"
        if outcome.error:
            yield f"This row could not be measured completely: {outcome.error}.\n"


def _afterwards(outcome: Outcome) -> str:
    if outcome.well_seconds is None:
        return "Afterwards, not every routine succeeded again in time."
    return f"Afterwards, every routine that had failed succeeded again within {outcome.well_seconds:g} s."


def write(rows: Sequence[Row], outcomes: Mapping[str, Outcome]) -> None:
    """Write the page."""
    paces = [named(routine) for routine in routines()]
    about = {
        "version": __version__,
        "kubernetes": json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"],
        "nodes": len(kubectl("get", "nodes", "-o", "name").split()),
        "factor": FACTOR,
        "longest": max(pace.interval for pace in paces),
        "most": max(pace.timeout for pace in paces),
    }
    PAGE.write_text(page(rows, outcomes, about), encoding="utf-8")
