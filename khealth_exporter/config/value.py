"""The values of a YAML file, each with its place."""

from dataclasses import dataclass

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in the file, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the file; `key` is where its key stands, if it has one, and `text` how a scalar is written."""

    place: Place
    content: "dict[str, Value] | list[Value] | Scalar"
    text: str = ""
    key: Place | None = None

    @property
    def entries(self) -> "dict[str, Value]":
        """What it holds by key; empty unless it is a mapping."""
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
        """Return what it is, for a sentence."""
        match self.content:
            case dict():
                return "a mapping"
            case list():
                return "a list"
            case None:
                return "nothing"
            case str(text):
                return f"the text {text!r}"
            case _:
                return self.text
