"""The types that settings are made of."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationInfo,
)

from khealth_exporter.vocabulary.address import Address

_DURATION = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?!s))?(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+)ms)?")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(text: object) -> float:
    """Return the seconds that a duration like `500ms`, `5s`, `2m` or `1m30s` stands for; ValueError on anything else.

    A bare number is refused: nothing would say whether seconds or milliseconds were meant.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write a number with its unit, as in 500ms, 5s or 2m")
    return round(sum(float(number) * _UNITS[unit] for unit, number in match.groupdict().items() if number), 3)


def format_duration(seconds: float) -> str:
    """Return the shortest of `500ms`, `5s`, `2m`, `1h` that says it without loss."""
    for unit in ("h", "m", "s"):
        if seconds >= _UNITS[unit] and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms" if seconds else "0s"


def _duration(value: object, info: ValidationInfo) -> float:
    # Our own code says seconds; a file has to name its unit.
    return value if isinstance(value, float) and info.mode == "python" else parse_duration(value)


_LONGEST = 7 * 86400.0
Duration = Annotated[float, BeforeValidator(_duration), PlainSerializer(format_duration), Field(gt=0, le=_LONGEST)]
"""A duration from a millisecond to a week, in seconds; written `500ms`, `5s`, `2m`."""

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(?P<zone>Z|[-+][0-9]{2}:[0-9]{2})?")
MOMENT = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[-+][0-9]{2}:[0-9]{2}))?$"
"""What a file may say for a Moment."""
NEVER = 0.0
"""The moment that is not set; written as an empty text."""


def parse_moment(text: object) -> float:
    """Return the Unix seconds of a time like `2026-12-24T06:00:00Z`; NEVER for an empty text; ValueError otherwise."""
    if text == "":
        return NEVER
    match = _MOMENT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a time: write date, time and time zone, as in 2026-12-24T06:00:00Z")
    if match["zone"] is None:
        raise ValueError(f"{text!r} has no time zone: add Z for UTC, or an offset such as +01:00")
    try:
        return max(NEVER, datetime.fromisoformat(match[0]).astimezone(UTC).timestamp())
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time: {error}") from error


def format_moment(seconds: float) -> str:
    """Return a time in UTC as `parse_moment` reads it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""


def _moment(value: object, info: ValidationInfo) -> float:
    return value if isinstance(value, float) and info.mode == "python" else parse_moment(value)


Moment = Annotated[float, BeforeValidator(_moment), PlainSerializer(format_moment)]
"""A moment in Unix seconds; written `2026-12-24T06:00:00Z`, or empty."""

_HTTP = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(:[0-9]{1,5})?/check")


def _check_url(text: str) -> str:
    if text and not _HTTP.fullmatch(text):
        raise ValueError(f"{text!r} is no URL for reports: write http://HOST:PORT/check")
    return text


def _listen(text: str) -> str:
    Address.parse(text)
    return text


NAME_LENGTH = 30
Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=NAME_LENGTH)]
"""A routine's name: a DNS label, short enough to leave room in a pod's name for run, attempt and suffix."""


class Settings(BaseModel):
    """Base of every part of the configuration: frozen, and closed to keys that it does not know."""

    # Most settings belong to routines that do not run: validators are built when they are needed.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True)


class ModuleSettings(Settings):
    """The settings of a module, next to its routines."""

    suspend: bool = False
    """Whether all its routines rest."""
    suspend_until: Moment = NEVER
    """Until when all its routines rest, as in 2026-12-24T06:00:00Z."""


class CanarySettings(Settings):
    """What canaries that measure something run."""

    image: str = ""
    """khealth's own image, which the chart sets; empty, and the routines that need it do not run."""


class KuberhealthySettings(Settings):
    """Where checks report that speak Kuberhealthy's protocol; used only while such a check is configured."""

    listen: Annotated[str, AfterValidator(_listen)] = ":8090"
    """Address to listen on; its port is for reports alone."""
    url: Annotated[str, AfterValidator(_check_url)] = ""
    """What checks are told as KH_REPORTING_URL. It ends in /check; empty for khealth's own address."""


class MeasurementSettings(Settings):
    """From what own delay on a measured step is called degraded."""

    loop_lag: Duration = 0.02
    """The event loop's busy time above which a step is degraded."""
    watch_lag: Duration = 0.05
    """The watch's lag above which a step is degraded."""
