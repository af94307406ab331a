"""The HTML document of the status page, and its Content-Security-Policy."""

from collections.abc import Iterator, Sequence
from importlib.resources import files

from khealth_exporter.config import Off
from khealth_exporter.core.snapshot import About, Snapshot, State
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.web.page.formatting import since as since_when
from khealth_exporter.web.page.formatting import time_element
from khealth_exporter.web.page.headline import headline, summary
from khealth_exporter.web.page.markup import Child, Markup, start_tag, tag
from khealth_exporter.web.page.overview import overview
from khealth_exporter.web.page.routine_section import routine_section
from khealth_exporter.web.page.state_icons import SYMBOLS
from khealth_exporter.web.security.content_security_policy import hash_source
from khealth_exporter.web.status import state_of

_STYLE = Markup(files(__package__).joinpath("style.css").read_text("utf-8"))
_SCRIPT = Markup(files(__package__).joinpath("script.js").read_text("utf-8"))


CONTENT_SECURITY_POLICY = "; ".join(
    (
        f"default-src 'none'; style-src {hash_source(_STYLE)}; script-src {hash_source(_SCRIPT)}",
        "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "require-trusted-types-for 'script'; trusted-types 'none'",
    )
)
"""Allows only the page's own style and script, and requests and images of the same origin."""

_REFRESH = 10
"""Seconds after which a browser without JavaScript reloads the page."""
_ATTEMPTS, _FEWEST = 300, 20
"""The attempts that the page shows of all routines together, and the fewest that it shows of each."""


def status_page(snapshots: Sequence[Snapshot], denied: Sequence[Denied], about: About, off: Sequence[Off] = ()) -> str:
    """Return the status page; all text from the cluster is escaped."""
    statuses = [status for snapshot in snapshots for status in snapshot.routines]
    limit = max(_FEWEST, _ATTEMPTS // max(1, len(statuses)))
    sections = [
        routine_section(status, about.now, limit, opened=len(statuses) == 1 or status.state is State.FAILING)
        for status in statuses
    ]
    body = tag(
        "body",
        # The script fills these elements, and keeps them when it updates the rest.
        tag("p", id="silence", role="status"),
        tag("p", id="news", role="status"),
        tag("header", list(headline(snapshots, about.now)), _status_time(about), id="answer"),
        tag(
            "main",
            list(overview(snapshots, off, about.now)),
            list(_missing_permissions(denied, about.now)),
            sections,
            id="routines",
        ),
        _foot(about),
    )
    return "".join(("<!doctype html>\n", tag("html", _head(snapshots), body, lang="en"), "\n"))


def _head(snapshots: Sequence[Snapshot]) -> Markup:
    state = state_of(snapshots)
    return tag(
        "head",
        start_tag("meta", charset="utf-8"),
        start_tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        start_tag("meta", name="color-scheme", content="light dark"),
        tag("noscript", start_tag("meta", http_equiv="refresh", content=_REFRESH)),
        tag("title", f"{SYMBOLS[state]} {state}: {summary(snapshots)} · khealth"),
        start_tag("link", rel="icon", type="image/svg+xml", href=f"favicon/{state}.svg"),
        tag("style", _STYLE),
        tag("script", _SCRIPT, type="module"),
    )


def _status_time(about: About) -> Markup:
    cluster = f", cluster {about.cluster}" if about.cluster else None
    return tag("p", "Status at ", time_element(about.now), " UTC", cluster, class_="quiet")


def _missing_permissions(denied: Sequence[Denied], now: float) -> Iterator[Markup]:
    """Yield the missing permissions; nothing if there are none."""
    if not denied:
        return
    heads = [tag("th", head, scope="col") for head in ("permission", "importance", "purpose", "since")]
    rows = [
        tag(
            "tr",
            tag("th", str(right), scope="row"),
            tag("td", "optional: diagnosis less precise" if right.optional else "required"),
            tag("td", right.why),
            tag("td", since_when(right.since, now)[1:]),
        )
        for right in denied
    ]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows))
    wide = tag("div", table, class_="wide", role="group", tabindex="0", aria_label="Missing permissions")
    yield tag("section", tag("h2", "Missing permissions", id="forbidden"), wide, aria_labelledby="forbidden")


def _foot(about: About) -> Markup:
    links = (
        ("runbook", "runbook"),
        ("metrics", "metrics"),
        ("status", "status as JSON"),
        ("config", "configuration"),
    )
    parts: list[Child] = [[tag("a", text, href=path), " · "] for path, text in links]
    return tag(
        "footer", tag("p", parts, f"khealth {about.version}, Python {about.python} · all times are UTC"), id="about"
    )
