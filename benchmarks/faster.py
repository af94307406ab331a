"""The shipped rules and routes at a test's speed: every duration in them divided by one factor, all else as it is."""

# A tree as YAML has it can be anything.
# ruff: noqa: ANN401
import re
from collections.abc import Mapping
from typing import Any

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
_WINDOW = re.compile(rf"\[\s*({_DURATION})\s*(?::\s*({_DURATION})?\s*)?\]")
_OFFSET = re.compile(rf"(\boffset\s+-?)({_DURATION})")
_CLASS = re.compile(r"\bkhealth_interval_seconds\b(?:\s*[<>]=?\s*\d+)+")
_SECONDS = re.compile(r"\d+")
_KEYS = {"for", "keep_firing_for", "interval", "query_offset", "group_wait", "group_interval", "repeat_interval"}
"""What holds a duration, in a rule file and in Alertmanager's configuration."""


def shorter(duration: str, factor: float) -> str:
    """Return a duration divided by the factor, in whole milliseconds; ValueError where it is none.

    Rounded down, so that a `for` of two evaluations is not longer than two evaluations.
    """
    if not re.fullmatch(_DURATION, duration):
        raise ValueError(f"{duration!r} is no duration")
    whole = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(duration))
    return f"{int(whole / factor)}ms"


def faster_expression(text: str, factor: float) -> str:
    """Divide what is time in PromQL: windows, their resolutions, offsets, and the classes of intervals (seconds)."""

    def window(found: re.Match[str]) -> str:
        parts = [shorter(part, factor) for part in found.groups() if part]
        return f"[{':'.join(parts)}{':' if ':' in found[0] and len(parts) == 1 else ''}]"

    text = _WINDOW.sub(window, text)
    text = _OFFSET.sub(lambda found: found[1] + shorter(found[2], factor), text)
    return _CLASS.sub(lambda found: _SECONDS.sub(lambda number: f"{int(number[0]) / factor:g}", found[0]), text)


def faster(settings: Any, factor: float) -> Any:
    """Return a rule file or an Alertmanager configuration, as read from YAML, with every duration divided."""
    if isinstance(settings, list):
        return [faster(item, factor) for item in settings]
    if isinstance(settings, Mapping):
        return {key: _value(key, value, factor) for key, value in settings.items()}
    return settings


def _value(key: str, value: Any, factor: float) -> Any:
    if key in _KEYS and isinstance(value, str):
        return shorter(value, factor)
    if key == "expr":
        return faster_expression(str(value), factor)
    if key == "annotations":
        return {name: faster_expression(text, factor) for name, text in value.items()}
    return value if key == "labels" else faster(value, factor)
