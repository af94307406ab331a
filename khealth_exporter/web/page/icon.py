"""Each state's sign, which differs in more than its colour."""

from collections.abc import Mapping
from typing import Final

from khealth_exporter.core.snapshot import State

SIGNS: Final[Mapping[State, str]] = {
    State.WELL: "✓",
    State.FAILING: "✗",
    State.INCONCLUSIVE: "?",
    State.EXPIRED: "?",
    State.WAITING: "…",
    State.SUSPENDED: "\N{EN DASH}",
}
"""In text."""

_MARK = '<path fill="none" stroke="#fff" stroke-width="4" stroke-linecap="round" d="{}"/>'
_ROUND = '<circle cx="16" cy="16" r="15" fill="{}"/>'
_UNKNOWN = _ROUND.format("#8a5a00") + _MARK.format("M11 12a5 5 0 1 1 7 5q-2 1-2 3M16 25h.01")
_PICTURES: Final[Mapping[State, str]] = {
    State.WELL: '<rect x="1" y="1" width="30" height="30" rx="8" fill="#1a7f37"/>' + _MARK.format("M8 17l6 6 11-14"),
    State.FAILING: '<path d="M10 1h12l9 9v12l-9 9H10l-9-9V10z" fill="#b3201f"/>'
    + _MARK.format("M10 10l12 12M22 10L10 22"),
    State.INCONCLUSIVE: _UNKNOWN,
    State.EXPIRED: _UNKNOWN,
    State.WAITING: _ROUND.format("#57606a") + _MARK.format("M8 16h.01M16 16h.01M24 16h.01"),
    State.SUSPENDED: _ROUND.format("#57606a") + _MARK.format("M9 16h14"),
}


def favicon(state: State) -> str:
    """Return a state's picture as SVG."""
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{_PICTURES[state]}</svg>\n'
