"""Renders alerts/runbook.md into what khealth serves at /runbook."""

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "alerts" / "runbook.md"
PAGE = ROOT / "khealth_exporter" / "web" / "runbook.html"

_DEEPEST = 3
"""The lowest level of headings that the table of contents shows."""


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def markdown() -> MarkdownIt:
    """Return what reads the runbook: tables, and no HTML of its own."""
    return MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")


def rendered(text: str) -> str:
    """Return the runbook as HTML without a frame: its table of contents, then its text; headings have their anchors."""
    reader = markdown()
    tokens = reader.parse(text)
    for token, heading in headings(tokens):
        token.attrSet("id", slug(heading))
    title = next(index for index, token in enumerate(tokens) if token.type == "heading_close") + 1
    parts = (tokens[:title], tokens[title:])
    before, after = (reader.renderer.render(part, reader.options, {}) for part in parts)
    return f"{before}{_contents(tokens)}{after}"


def headings(tokens: Sequence[Token]) -> Iterator[tuple[Token, str]]:
    """Yield each heading's token, and its text."""
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            yield token, tokens[index + 1].content


def _contents(tokens: Sequence[Token]) -> str:
    """Return the table of contents: one line of links for each group of sections."""
    groups: list[tuple[str, list[str]]] = []
    for token, heading in headings(tokens):
        level = int(token.tag[1:])
        if level == _DEEPEST - 1:
            groups.append((heading, []))
        elif level == _DEEPEST:
            groups[-1][1].append(heading)
    lines = (f"<li>{_link(name)}{_list(inner)}</li>\n" for name, inner in groups)
    return f'<nav aria-label="Contents"><ul>\n{"".join(lines)}</ul></nav>\n'


def _list(names: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_link(name)}</li>' for name in names)}</ul>" if names else ""


def _link(heading: str) -> str:
    return f'<a href="#{escape(slug(heading))}">{escape(heading)}</a>'


class _Renderer(RendererHTML):
    """Gives each command of a block a line of its own, so that one that is wrapped still looks like one."""

    def fence(self, tokens: Sequence[Token], index: int, _options: Any, _environment: Any) -> str:  # noqa: ANN401
        """Return a block of commands; where it is copied, each is one line."""
        lines = [f"<code>{escape(line, quote=False)}</code>" for line in tokens[index].content.splitlines()]
        return "\n".join(lines).join(("<pre>", "</pre>\n"))


def generated() -> dict[Path, str]:
    """Return the rendered runbook as it should be."""
    return {PAGE: rendered(SOURCE.read_text(encoding="utf-8"))}
