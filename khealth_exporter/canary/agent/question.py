"""Questions: JSON objects from the network, of which each value is checked before it is used."""

import json
import re
import socket

from khealth_exporter.canary.agent import dns_message

_HOST = re.compile("[A-Za-z0-9.-]+")
MOST_SECONDS = 60.0
"""The longest that a question may take."""

Document = dict[str, object]


class BadQuestion(Exception):  # noqa: N818 - it reads as what happened
    """The question is not one that the agent can answer; the text says why."""


class Question:
    """A JSON object; every method raises BadQuestion."""

    def __init__(self, fields: Document, received: float, place: str = "") -> None:
        self.received = received
        """The monotonic time at which it came."""
        self.fields = fields
        self._place = place

    def number(self, key: str, default: float | None, least: float, most: float) -> float:
        """Return a number of a range."""
        value = self.fields.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self._bad(key, f"no number from {least:g} to {most:g}")
        return float(value)

    def integer(self, key: str, default: int | None, least: int, most: int) -> int:
        """Return an integer of a range."""
        value = self.fields.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._bad(key, f"no integer from {least} to {most}")
        return value

    def flag(self, key: str) -> bool | None:
        """Return a boolean, or None if there is none."""
        value = self.fields.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._bad(key, "neither true nor false")
        return value

    def text(self, key: str, default: str | None = None, most: int = 253) -> str:
        """Return a text of printable ASCII."""
        value = self.fields.get(key, default)
        if not isinstance(value, str) or len(value) > most or not (value.isascii() and value.isprintable()):
            raise self._bad(key, f"no text of at most {most} printable ASCII characters")
        return value

    def choice(self, key: str, default: str | None, *choices: str) -> str:
        """Return one of some texts."""
        value = self.fields.get(key, default)
        if not isinstance(value, str) or value not in choices:
            raise self._bad(key, f"none of {', '.join(choices)}")
        return value

    def address(self, key: str, default: str | None = None) -> str:
        """Return an IP address, or the default."""
        value = self.text(key, default)
        if value != default and not is_address(value):
            raise self._bad(key, "no IP address")
        return value

    def host(self, key: str) -> str:
        """Return an IP address or a host name."""
        value = self.text(key)
        if not (is_address(value) or is_name(value)):
            raise self._bad(key, "neither an IP address nor a host name")
        return value

    def several(self, key: str, most: int) -> "list[Question]":
        """Return a list of objects."""
        return [
            Question(value, self.received, f"{self._place}{key}[{index}].")
            if isinstance(value, dict)
            else self._refuse(f"{key}[{index}]", "no object")
            for index, value in enumerate(self._list(key, most))
        ]

    def numbers(self, key: str, most: int) -> list[float]:
        """Return a list of numbers greater than 0, in order; empty if there is none."""
        values = self._list(key, most) if key in self.fields else []
        numbers = [value for value in values if isinstance(value, int | float) and 0 < value <= MOST_SECONDS]
        if len(numbers) != len(values) or numbers != sorted(numbers):
            raise self._bad(key, f"no numbers in order, greater than 0 and at most {MOST_SECONDS:g}")
        return numbers

    def _list(self, key: str, most: int) -> list[object]:
        value = self.fields.get(key)
        if not isinstance(value, list) or len(value) > most:
            raise self._bad(key, f"no list of at most {most}")
        return value

    def _refuse(self, key: str, why: str) -> "Question":
        raise self._bad(key, why)

    def _bad(self, key: str, why: str) -> BadQuestion:
        return BadQuestion(f"{self._place}{key}: {why}")


def decoded(body: bytes, received: float) -> Question:
    """Return the question of a body; raise BadQuestion."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadQuestion(f"no JSON: {str(error)[:100]}") from error
    if not isinstance(fields, dict):
        raise BadQuestion("no JSON object")
    return Question(fields, received)


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        return False
    return True


def is_name(text: str) -> bool:
    """Return whether a text is a host name: letters, digits, hyphens, and dots between 1 to 63 of them.

    A text whose last part is a number is none: it would be an IPv4 address.
    """
    last = text.removesuffix(".").rpartition(".")[2]
    return bool(_HOST.fullmatch(text)) and last != "" and not last.isdigit() and dns_message.possible(text)
