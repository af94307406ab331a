"""Times, durations and figures as people read them."""

from datetime import UTC, datetime

from khealth_exporter.core.snapshot import Attempt
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.verdict import Verdict
from khealth_exporter.web.page.markup import Markup, tag

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def stamp(seconds: float) -> str:
    """Return Unix seconds as UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def when(seconds: float) -> Markup:
    """Return a moment, to the second."""
    return _time(seconds, "%Y-%m-%d %H:%M:%S")


def clock(seconds: float, now: float) -> Markup:
    """Return a moment of today by its hour and minute, any other one with its date."""
    today = datetime.fromtimestamp(now, UTC).date() == datetime.fromtimestamp(seconds, UTC).date()
    return _time(seconds, "%H:%M" if today else "%Y-%m-%d %H:%M")


def since(seconds: float, now: float) -> list[str]:
    """Return since when something is, and for how long."""
    return ["since ", clock(seconds, now), f" UTC ({span(now - seconds)})"]


def _time(seconds: float, form: str) -> Markup:
    moment = datetime.fromtimestamp(seconds, UTC)
    return tag("time", moment.strftime(form), datetime=moment.strftime("%Y-%m-%dT%H:%M:%SZ"))


def span(seconds: float) -> str:
    """Return how long something lasts, in its two largest units at most."""
    left = max(0, round(seconds))
    if left < _MINUTE:
        return f"{left} s"
    if left < _HOUR:
        return f"{left // _MINUTE} min"
    large, small, names = (_HOUR, _MINUTE, "h min") if left < _DAY else (_DAY, _HOUR, "d h")
    first, second = names.split()
    rest = left % large // small
    return f"{left // large} {first}" + (f" {rest} {second}" if rest else "")


def duration(seconds: float) -> str:
    """Return a duration in its handier unit."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def figure(measured: Measurement) -> str:
    """Return a step's duration with its error bar; of one that had not ended, how long it was waited for."""
    if measured.censored:
        return f"stuck after {duration(measured.seconds)}"
    in_ms = measured.seconds < 1 and measured.uncertainty < 1
    scale, digits, unit = (1000, 0, "ms") if in_ms else (1, 3, "s")
    error = f"{measured.uncertainty * scale:.{digits}f}"
    least = f"{10**-digits:g}"
    return f"{measured.seconds * scale:.{digits}f} ± {error if float(error) else f'<{least}'} {unit}"


def blamed(verdict: Verdict | None) -> str:
    """Return a verdict's reason and component; nothing where there is none."""
    if verdict is None or verdict.reason is None:
        return ""
    return f"{verdict.reason.value} ({verdict.component.value if verdict.component else 'unknown'})"


def result(attempt: Attempt) -> str:
    """Return how an attempt ended."""
    return attempt.verdict.result.value if attempt.verdict else "running"


def number(count: int, noun: str) -> str:
    """Return a number of things."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
