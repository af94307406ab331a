"""Types of the flags: with limits that keep every document within its size."""

import argparse
from collections.abc import Callable

_LONGEST = 200
"""Characters of a text or a path."""
_YEAR = 366 * 86400.0


def integer(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of integers of a range."""

    def parsed(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text[:20]) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no integer from {least} to {most}")
        return int(text)

    return parsed


def seconds(text: str) -> float:
    """Parse a number of seconds, greater than 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _YEAR:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds greater than 0")
    return value


def text(given: str) -> str:
    """Parse a text: not empty, short, and in printable ASCII."""
    if not given or len(given) > _LONGEST or not (given.isascii() and given.isprintable()):
        raise argparse.ArgumentTypeError(f"{given[:50]!r} is no text of 1 to {_LONGEST} printable ASCII characters")
    return given
