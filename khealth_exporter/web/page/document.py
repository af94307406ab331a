"""The whole document, and what a browser may do with it."""

from collections.abc import Iterator, Sequence
from importlib.resources import files

from khealth_exporter.core.snapshot import About, Snapshot
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.web.page.headline import headline, summary
from khealth_exporter.web.page.icon import SIGNS
from khealth_exporter.web.page.markup import Child, Markup, opened, tag
from khealth_exporter.web.page.routine import badge, routine
from khealth_exporter.web.page.words import since as since_when
from khealth_exporter.web.page.words import when
from khealth_exporter.web.security.content_security_policy import source
from khealth_exporter.web.status import state_of

_STYLE = Markup(files(__package__).joinpath("style.css").read_text("utf-8"))
_SCRIPT = Markup(files(__package__).joinpath("script.js").read_text("utf-8"))


CONTENT_SECURITY_POLICY = "; ".join(
    (
        f"default-src 'none'; style-src {source(_STYLE)}; script-src {source(_SCRIPT)}",
        "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "require-trusted-types-for 'script'; trusted-types 'none'",
    )
)
"""Allows the page's own style and script, requests and pictures of khealth itself, and nothing else."""

_REFRESH = 10
"""Seconds after which a browser without a script loads the page again."""


def status_page(snapshots: Sequence[Snapshot], denied: Sequence[Denied], about: About) -> str:
    """Return the status page; all that came from the cluster is escaped."""
    statuses = [status for snapshot in snapshots for status in snapshot.routines]
    sections = [routine(status, about.now) for status in statuses]
    body = tag(
        "body",
        # Said by the script alone, and kept when the rest is replaced.
        tag("p", id="silence", role="status"),
        tag("p", id="news", role="status"),
        tag("header", list(headline(snapshots, about.now)), _looked(about), id="answer"),
        tag("main", list(_denied(denied, about.now)), list(_overview(snapshots, about.now)), sections, id="routines"),
        _foot(about),
    )
    return "".join(("<!doctype html>\n", tag("html", _head(snapshots), body, lang="en"), "\n"))


def _head(snapshots: Sequence[Snapshot]) -> Markup:
    state = state_of(snapshots)
    return tag(
        "head",
        opened("meta", charset="utf-8"),
        opened("meta", name="viewport", content="width=device-width, initial-scale=1"),
        opened("meta", name="color-scheme", content="light dark"),
        tag("noscript", opened("meta", http_equiv="refresh", content=_REFRESH)),
        tag("title", f"{SIGNS[state]} {state}: {summary(snapshots)} · khealth"),
        opened("link", rel="icon", type="image/svg+xml", href=f"favicon/{state}.svg"),
        tag("style", _STYLE),
        tag("script", _SCRIPT, type="module"),
    )


def _looked(about: About) -> Markup:
    cluster = f", cluster {about.cluster}" if about.cluster else None
    return tag("p", "As khealth knows it at ", when(about.now), " UTC", cluster, class_="quiet")


def _denied(denied: Sequence[Denied], now: float) -> Iterator[Markup]:
    """Yield what khealth may not do; nothing if it may do all that it has asked for."""
    if not denied:
        return
    heads = [tag("th", head, scope="col") for head in ("right", "weight", "what it is for", "since")]
    rows = [
        tag(
            "tr",
            tag("th", str(right), scope="row"),
            tag("td", "optional: verdicts may be less sharp" if right.optional else "required"),
            tag("td", right.why),
            tag("td", since_when(right.since, now)[1:]),
        )
        for right in denied
    ]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows))
    wide = tag("div", table, class_="wide", role="group", tabindex="0", aria_label="Rights that khealth lacks")
    yield tag("section", tag("h2", "Forbidden", id="forbidden"), wide, aria_labelledby="forbidden")


def _overview(snapshots: Sequence[Snapshot], now: float) -> Iterator[Markup]:
    """Yield one line for each routine; nothing where there is one alone."""
    statuses = [status for snapshot in snapshots for status in snapshot.routines]
    if len(statuses) < 2:  # noqa: PLR2004 - it would say what stands below it
        return
    heads = [tag("th", head, scope="col") for head in ("routine", "state", "since", "failures in a row")]
    rows = []
    for status in statuses:
        link = tag("a", status.routine, href=f"#{status.module}.{status.routine}")
        since: Child = since_when(status.since, now)[1:] if status.since is not None else ""
        cells = (tag("td", cell) for cell in (badge(status.state), since, str(status.consecutive_failures)))
        rows.append(tag("tr", tag("th", link, scope="row"), cells, id=f"{status.module}.{status.routine}.line"))
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows))
    wide = tag("div", table, class_="wide", role="group", tabindex="0", aria_label="Every routine's state")
    yield tag("section", tag("h2", "Routines", id="overview"), wide, aria_labelledby="overview")


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
