"""Builds HTML; every string that is not Markup is text, and is escaped."""

from collections.abc import Iterable
from html import escape


class Markup(str):
    """A fragment of HTML."""

    __slots__ = ()


Child = str | Iterable["Child"] | None
"""The content of an element; a string that is not Markup is text."""
Value = str | int | bool | None
"""The value of an attribute. True: an attribute without a value. False or None: no attribute."""


def tag(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """Return an element; `class_` means class, and `aria_label` means aria-label."""
    return Markup(f"{start_tag(name, **attributes)}{joined(children)}</{name}>")


def start_tag(name: str, /, **attributes: Value) -> Markup:
    """Return a start tag, or a void element."""
    pairs = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    return Markup(f"<{name}{pairs}>")


def joined(child: Child) -> Markup:
    """Return the content of an element, with text escaped."""
    if child is None:
        return Markup()
    if isinstance(child, str):
        return child if isinstance(child, Markup) else Markup(escape(child, quote=False))
    return Markup("".join(map(joined, child)))


def _attribute(name: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
