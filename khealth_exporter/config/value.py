"""The values of a YAML file, each with its place."""

from dataclasses import dataclass

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column in the file, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the file; `key` is the place of its key, if any, and `text` is a scalar as the file has it."""

    place: Place
    content: "dict[str, Value] | list[Value] | Scalar"
    text: str = ""
    key: Place | None = None

    @property
    def entries(self) -> "dict[str, Value]":
        """Return the entries of a mapping; empty for any other value."""
        return self.content if isinstance(self.content, dict) else {}

    def plain(self) -> object:
        """Return the value as dict, list and scalars."""
        match self.content:
            case dict(entries):
                return {key: value.plain() for key, value in entries.items()}
            case list(items):
                return [item.plain() for item in items]
            case scalar:
                return scalar

    def described(self) -> str:
        """Return a description for an error message."""
        match self.content:
            case dict():
                return "a mapping"
            case list():
                return "a list"
            case None:
                return "null"
            case str(text):
                return f"the string {text!r}"
            case _:
                return self.text
