"""Formats times, durations, measurements, and verdicts for the status page."""

from datetime import UTC, datetime

from khealth_exporter.core.snapshot import Attempt
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.verdict import Verdict
from khealth_exporter.web.page.markup import Markup, tag

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SECOND = 1000
"""Milliseconds."""


def timestamp(seconds: float) -> str:
    """Return Unix seconds as UTC text, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def time_element(seconds: float) -> Markup:
    """Return a time element, to the second."""
    return _time(seconds, "%Y-%m-%d %H:%M:%S")


def minute_element(seconds: float, now: float) -> Markup:
    """Return a time element, to the minute; with the date if it is not today."""
    today = datetime.fromtimestamp(now, UTC).date() == datetime.fromtimestamp(seconds, UTC).date()
    return _time(seconds, "%H:%M" if today else "%Y-%m-%d %H:%M")


def since(seconds: float, now: float) -> list[str]:
    """Return `since TIME UTC (DURATION)`."""
    return ["since ", minute_element(seconds, now), f" UTC ({rounded_duration(now - seconds)})"]


def _time(seconds: float, form: str) -> Markup:
    moment = datetime.fromtimestamp(seconds, UTC)
    return tag("time", moment.strftime(form), datetime=moment.strftime("%Y-%m-%dT%H:%M:%SZ"))


def rounded_duration(seconds: float) -> str:
    """Return a duration in at most two units."""
    left = max(0, round(seconds))
    if left < _MINUTE:
        return f"{left} s"
    if left < _HOUR:
        return f"{left // _MINUTE} min"
    large, small, names = (_HOUR, _MINUTE, "h min") if left < _DAY else (_DAY, _HOUR, "d h")
    first, second = names.split()
    rest = left % large // small
    return f"{left // large} {first}" + (f" {rest} {second}" if rest else "")


def age(seconds: float) -> str:
    """Return a duration in its largest unit."""
    return " ".join(rounded_duration(seconds).split()[:2])


def duration(seconds: float) -> str:
    """Return a duration in milliseconds below one second, in seconds otherwise."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def round_trip(seconds: float) -> str:
    """Return a duration that may be far below a millisecond, in three digits."""
    milliseconds = seconds * 1000
    if milliseconds >= _SECOND:
        return duration(seconds)
    digits = 2 if milliseconds < 10 else 1 if milliseconds < 100 else 0  # noqa: PLR2004 - powers of ten
    return f"{milliseconds:.{digits}f} ms"


def measured_duration(measured: Measurement) -> str:
    """Return the duration of a step with its uncertainty, or the waiting time if the step did not end."""
    if measured.censored:
        return f"stuck after {duration(measured.seconds)}"
    in_ms = measured.seconds < 1 and measured.uncertainty < 1
    # As with round trips on a network: the digits that are certain.
    fine = 2 if 0 < measured.seconds < 0.01 and measured.uncertainty < 0.0001 else 0  # noqa: PLR2004 - 10 ms, 0.1 ms
    scale, digits, unit = (1000, fine, "ms") if in_ms else (1, 3, "s")
    error = f"{measured.uncertainty * scale:.{digits}f}"
    smallest = f"{10**-digits:g}"
    return f"{measured.seconds * scale:.{digits}f} ± {error if float(error) else f'<{smallest}'} {unit}"


def reason_and_component(verdict: Verdict | None) -> str:
    """Return the reason and component of a verdict; an empty text if it has no reason."""
    if verdict is None or verdict.reason is None:
        return ""
    return f"{verdict.reason.value} ({verdict.component.value if verdict.component else 'unknown'})"


def result(attempt: Attempt) -> str:
    """Return the result of an attempt."""
    return attempt.verdict.result.value if attempt.verdict else "running"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural if needed."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
