"""What came of a fault: who noticed it, how soon, who was blamed, and who was woken."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.everything import named, routines
from benchmarks.fault_rows import NOBODY, Row
from benchmarks.figures import Goal
from benchmarks.verdicts import INCONCLUSIVE, Seen

LOOK = 1.5
"""Seconds between two looks at /status, and for one of them."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A routine's verdict while something was broken, and how many seconds after the break it was seen first."""

    routine: str
    said: str
    """The component that it blames, or `inconclusive`."""
    reason: str
    seconds: float
    note: str


@dataclass(slots=True)
class Outcome:
    """What came of one row of the fault table."""

    name: str
    date: str
    notices: list[Notice] = field(default_factory=list)
    """The first of each routine with each reason, in order."""
    unaware: list[str] = field(default_factory=list)
    """The routines that made an attempt, and for which all was well."""
    silent: list[str] = field(default_factory=list)
    """The routines without an attempt that began while it was broken and has a verdict."""
    pages: list[str] = field(default_factory=list)
    page_seconds: float | None = None
    """How long after the break the first page came."""
    tickets: list[str] = field(default_factory=list)
    """The alerts below a page that fired, whether or not a page held their notifications back."""
    well_seconds: float | None = None
    """How long after the fault was mended every routine was well again; None if that did not happen in time."""
    error: str = ""
    """Why the row could not be measured; empty if it was."""

    def document(self) -> dict[str, Any]:
        """Return it for a file."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Outcome":
        """Return what a file holds."""
        return cls(**{**document, "notices": [Notice(**notice) for notice in document["notices"]]})


def notices(seen: Sequence[Seen], broken: float) -> Iterator[Notice]:
    """Yield the first notice of each routine with each reason."""
    known: set[tuple[str, str, str]] = set()
    for one in seen:
        verdict = one.verdict
        key = (verdict.routine, verdict.said, verdict.reason)
        if verdict.result != "success" and key not in known:
            known.add(key)
            yield Notice(verdict.routine, verdict.said, verdict.reason, round(one.at - broken, 1), verdict.note)


def judged(outcome: Outcome, seen: Sequence[Seen], broken: float, mended: float) -> None:
    """Take in what was seen from the break until all was well again."""
    outcome.notices = list(notices(seen, broken))
    told = {notice.routine for notice in outcome.notices}
    begun = {one.verdict.routine for one in seen if broken <= one.verdict.began < mended}
    outcome.unaware = sorted(begun - told)
    outcome.silent = sorted(set(routines()) - begun - told)


def wrong(row: Row, outcome: Outcome) -> list[Notice]:
    """Return the notices that blame a healthy component."""
    return [notice for notice in outcome.notices if notice.said not in {row.component, *row.also, INCONCLUSIVE}]


def right(row: Row, outcome: Outcome) -> list[Notice]:
    """Return the notices that name what is broken."""
    return [notice for notice in outcome.notices if notice.said == row.component]


def late(row: Row, outcome: Outcome) -> float:
    """Return by how many seconds the first right notice came later than its routine's interval and timeout allow.

    It is infinite if there is none, but 0 if nobody has to notice it.
    """
    if row.component == NOBODY:
        return 0.0
    return min(
        (
            notice.seconds - named(notice.routine).interval - named(notice.routine).timeout - LOOK
            for notice in right(row, outcome)
        ),
        default=float("inf"),
    )


def goals(row: Row, outcome: Outcome) -> list[Goal]:
    """Return what a row must reach."""
    other = set(outcome.pages) ^ ({row.page} if row.page else set())
    return [
        Goal(f"{row.name}: could not be measured", int(bool(outcome.error)), 0),
        Goal(f"{row.name}: first notice, seconds beyond its interval and timeout", late(row, outcome), 0),
        Goal(f"{row.name}: notices that blame a healthy component", len(wrong(row, outcome)), 0),
        Goal(f"{row.name}: pages too many or missing", len(other), 0),
        Goal(f"{row.name}: not well again", int(outcome.well_seconds is None), 0),
    ]
