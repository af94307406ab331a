"""Durations as Go writes them."""

import re

_PART = r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<unit>h|ms|m|s|us|µs|μs|ns)"
_PARTS, _WHOLE = re.compile(_PART), re.compile(f"[-+]?(?:0|(?:{re.sub('[?]P<[a-z]+>', '?:', _PART)})+)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}


def parse(text: str) -> float:
    """Return the seconds of a duration, as in `1h30m`, `1.5m` or `250us`; ValueError if Go would not read it."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration of Go, as in 30s or 1h30m")
    seconds = sum(float(part["number"]) * _UNITS[part["unit"]] for part in _PARTS.finditer(text))
    return -seconds if text.startswith("-") else seconds
