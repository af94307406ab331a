"""The recent attempts of a routine: the last duration, the median, and a small chart."""

from collections.abc import Iterator, Sequence
from statistics import median

from khealth_exporter.core.snapshot import Attempt, RoutineStatus
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.web.page.formatting import counted, result
from khealth_exporter.web.page.markup import Markup, tag

_ENOUGH = 5
"""The successful attempts that a median needs."""
_CHARTED = 30
_PITCH, _HEIGHT = 4, 16
"""The width of an attempt and the height of the chart, in pixels."""


def last_duration(status: RoutineStatus) -> float | None:
    """Return the duration of the latest attempt that has ended, in seconds."""
    return next((attempt.duration for attempt in reversed(status.attempts) if _ended(attempt)), None)


def median_duration(status: RoutineStatus) -> float | None:
    """Return the median duration of the successful attempts in seconds; None if there are too few."""
    successful = [attempt.duration for attempt in status.attempts if result(attempt) == Result.SUCCESS]
    return median(successful) if len(successful) >= _ENOUGH else None


def chart(status: RoutineStatus) -> Iterator[Markup]:
    """Yield a chart of the last attempts, the latest at the right; nothing without an ended attempt.

    A success is as high as its duration: half of the height is the median. All other results have the full height.
    """
    ended = [attempt for attempt in status.attempts if _ended(attempt)][-_CHARTED:]
    if not ended:
        return
    kinds = [result(attempt) for attempt in ended]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in Result if kind in kinds)
    usual = median_duration(status) or median(attempt.duration for attempt in ended)
    bars = (_bars(ended, kind, usual) for kind in Result if kind in kinds)
    yield tag(
        "svg", list(bars), class_="chart", role="img", aria_label=f"Last {counted(len(ended), 'attempt')}: {counts}",
        viewBox=f"0.5 0 {_CHARTED * _PITCH} {_HEIGHT}", preserveAspectRatio="xMaxYMid slice",
    )  # fmt: skip


def _bars(attempts: Sequence[Attempt], kind: Result, usual: float) -> Markup:
    first = (_CHARTED - len(attempts)) * _PITCH + _PITCH // 2
    path = "".join(
        f"M{first + index * _PITCH} {_HEIGHT}v-{_height(attempt, usual)}"
        for index, attempt in enumerate(attempts)
        if result(attempt) == kind
    )
    return tag("path", class_=kind, d=path)


def _height(attempt: Attempt, usual: float) -> int:
    if result(attempt) != Result.SUCCESS:
        return _HEIGHT
    share = attempt.duration / usual / 2 if usual else 0.5
    return max(2, round(min(share, 0.85) * _HEIGHT))


def _ended(attempt: Attempt) -> bool:
    return attempt.verdict is not None and attempt.ended is not None
