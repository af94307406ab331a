"""Reads a document into elements, such as the status page of some routines."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import groupby

import states

from khealth_exporter.config import Off
from khealth_exporter.core.snapshot import About, RoutineStatus, Snapshot
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.web.page import status_page

VOID = {"meta", "link"}


@dataclass
class Element:
    """An element with its content."""

    name: str
    attributes: dict[str, str | None]
    children: "list[Element | str]" = field(default_factory=list)

    def all(self, name: str = "", **wanted: str) -> "list[Element]":
        """Return the descendants with a name and attributes, in order; `class_` matches one class."""
        found = [child for child in self.children if isinstance(child, Element)]
        below = [element for child in found for element in (child, *child.all())]
        return [element for element in below if name in {"", element.name} and element.has(wanted)]

    def has(self, wanted: dict[str, str]) -> bool:
        return all(
            value in (self.attributes.get(key.rstrip("_")) or "").split() if key == "class_"
            else self.attributes.get(key) == value
            for key, value in wanted.items()
        )  # fmt: skip

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class Reader(HTMLParser):
    """Parses a document into elements."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop().name

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(text: str) -> Element:
    """Return the root of a document; AssertionError if an element is not closed."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert 1 == len(reader.open)
    return reader.open[0]


def by_module(statuses: Sequence[RoutineStatus]) -> tuple[Snapshot, ...]:
    """Return routines as the snapshots of their modules."""
    grouped = groupby(statuses, key=lambda status: status.module)
    return tuple(Snapshot(module, tuple(group)) for module, group in grouped)


def shown(
    *statuses: RoutineStatus, denied: Sequence[Denied] = (), about: About = states.ABOUT, off: Sequence[Off] = ()
) -> Element:
    """Return the page of some routines."""
    return read(status_page(by_module(statuses), denied, about, off))
