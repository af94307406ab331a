"""The types that settings are made of."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, ValidationInfo

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

NAME_LENGTH = 30
Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=NAME_LENGTH)]
"""A routine's name: a DNS label, short enough to leave room in a pod's name for run, attempt and suffix."""


class Settings(BaseModel):
    """Base of every part of the configuration: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModuleSettings(Settings):
    """The settings of a module, next to its routines."""

    suspend: bool = False
    """Whether all its routines rest."""


class CanarySettings(Settings):
    """What canaries that measure something run."""

    image: str = ""
    """khealth's own image, which the chart sets; empty, and the routines that need it do not run."""


class MeasurementSettings(Settings):
    """From what own delay on a measured step is called degraded."""

    loop_lag: Duration = 0.02
    """The event loop's busy time above which a step is degraded."""
    watch_lag: Duration = 0.05
    """The watch's lag above which a step is degraded."""
