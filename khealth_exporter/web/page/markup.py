"""HTML that cannot be broken by what stands in it: whatever is not made here is text, and escaped."""

from collections.abc import Iterable
from html import escape


class Markup(str):
    """A piece of HTML."""

    __slots__ = ()


Child = str | Iterable["Child"] | None
"""What an element may hold; a string that is no Markup is text."""
Value = str | int | bool | None
"""An attribute's value; True is an attribute without one, False and None are none."""


def tag(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """Return an element; `class_` stands for class, and `aria_label` for aria-label."""
    return Markup(f"{opened(name, **attributes)}{together(children)}</{name}>")


def opened(name: str, /, **attributes: Value) -> Markup:
    """Return an element's beginning: all that a void element has."""
    pairs = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    return Markup(f"<{name}{pairs}>")


def together(child: Child) -> Markup:
    """Return children one after the other, text escaped."""
    if child is None:
        return Markup()
    if isinstance(child, str):
        return child if isinstance(child, Markup) else Markup(escape(child, quote=False))
    return Markup("".join(map(together, child)))


def _attribute(name: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
