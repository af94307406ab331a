"""Symbols and icons of the states, which differ in shape and not only in color."""

from collections.abc import Mapping
from typing import Final

from khealth_exporter.core.snapshot import State

SYMBOLS: Final[Mapping[State, str]] = {
    State.WELL: "✓",
    State.FAILING: "✗",
    State.INCONCLUSIVE: "?",
    State.EXPIRED: "?",
    State.WAITING: "…",
    State.SUSPENDED: "\N{EN DASH}",
}
"""The symbol in text."""

_STROKE = '<path fill="none" stroke="#fff" stroke-width="4" stroke-linecap="round" d="{}"/>'
_CIRCLE = '<circle cx="16" cy="16" r="15" fill="{}"/>'
_UNKNOWN = _CIRCLE.format("#8a5a00") + _STROKE.format("M11 12a5 5 0 1 1 7 5q-2 1-2 3M16 25h.01")
_ICONS: Final[Mapping[State, str]] = {
    State.WELL: '<rect x="1" y="1" width="30" height="30" rx="8" fill="#1a7f37"/>' + _STROKE.format("M8 17l6 6 11-14"),
    State.FAILING: '<path d="M10 1h12l9 9v12l-9 9H10l-9-9V10z" fill="#b3201f"/>'
    + _STROKE.format("M10 10l12 12M22 10L10 22"),
    State.INCONCLUSIVE: _UNKNOWN,
    State.EXPIRED: _UNKNOWN,
    State.WAITING: _CIRCLE.format("#57606a") + _STROKE.format("M8 16h.01M16 16h.01M24 16h.01"),
    State.SUSPENDED: _CIRCLE.format("#57606a") + _STROKE.format("M9 16h14"),
}


def favicon(state: State) -> str:
    """Return the icon of a state as SVG."""
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{_ICONS[state]}</svg>\n'
