"""The runbook as khealth serves it: one page that needs nothing else."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from html.parser import HTMLParser
from importlib import resources

import pytest
import runbook
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from serving import Known

from deploy.runbook import PAGE, rendered, slug
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.web.connection_limit import ConnectionLimiter
from khealth_exporter.web.runbook import runbook_page
from khealth_exporter.web.security.access_control import AccessControl
from khealth_exporter.web.security.active_web_config import ActiveWebConfig
from khealth_exporter.web.security.passwords import PasswordVerifier
from khealth_exporter.web.server import application

Client = TestClient[Request, Application]

VOID = {"meta"}
"""Void elements of the page."""


class Reader(HTMLParser):
    """The elements of a page; an unclosed or wrongly closed element is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += self._open

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Record an element."""
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]
        self._open += [tag] if tag not in VOID else []

    def handle_endtag(self, tag: str) -> None:
        """Check that the last open element is closed."""
        if not self._open or self._open.pop() != tag:
            self.wrong.append(tag)


PAGE_TEXT = runbook_page()
READ = Reader(PAGE_TEXT)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Yield a client of the application."""
    served = application(Known(), AccessControl(ActiveWebConfig(), PasswordVerifier()), ConnectionLimiter(9))
    async with TestClient(TestServer(served)) as client:
        yield client


def test_the_rendered_runbook_is_up_to_date() -> None:
    """`make generate` would change nothing."""
    assert rendered(runbook.TEXT) == PAGE.read_text(encoding="utf-8")


def test_it_is_part_of_the_package() -> None:
    """The image holds the package, and no repository."""
    assert PAGE.read_bytes() == resources.files("khealth_exporter.web").joinpath("runbook.html").read_bytes()


async def test_it_is_served_unchanged(client: Client) -> None:
    """As HTML."""
    answer = await client.get("/runbook")
    assert (200, "text/html", PAGE_TEXT) == (answer.status, answer.content_type, await answer.text())


async def test_policy_allows_only_the_pages_own_style(client: Client) -> None:
    """Nothing is loaded, no script runs, and no other page can frame it."""
    styles = re.findall(r"<style>(.*?)</style>", PAGE_TEXT, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    expected = (
        1,
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
    assert expected == (len(styles), (await client.get("/runbook")).headers["Content-Security-Policy"])


@pytest.mark.parametrize("path", ["/", "/runbook", "/nowhere"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
    ],
)
async def test_it_has_the_same_security_headers_as_other_responses(
    client: Client, path: str, name: str, value: str
) -> None:
    """A page with its own policy keeps the other headers."""
    assert value == (await client.get(path)).headers[name]


async def test_the_other_pages_keep_their_own_policy(client: Client) -> None:
    """The style of the runbook is allowed only on the runbook."""
    policies = [(await client.get(path)).headers["Content-Security-Policy"] for path in ("/", "/runbook", "/metrics")]
    assert (True, True) == (policies[0] == policies[2], policies[0] != policies[1])


@pytest.mark.parametrize(
    "name", [*Reason, *(section.name for section in runbook.sections() if section.name not in set(Reason))]
)
def test_everything_can_be_linked_to(name: str) -> None:
    """By its name, as an alert's `runbook_url` and the status page do."""
    assert 1 == READ.ids.count(name.lower())


def test_every_link_leads_somewhere() -> None:
    """Within the page, or to the status page."""
    assert [] == [link for link in READ.links if link != "./" and link.removeprefix("#") not in READ.ids]


def test_every_section_is_in_the_table_of_contents() -> None:
    """And in the order of the sections."""
    contents = PAGE_TEXT.partition("<nav")[2].partition("</nav>")[0]
    anchors = [slug(section.name) for section in runbook.sections()]
    assert anchors == [anchor for anchor in re.findall(r'href="#([^"]+)"', contents) if anchor in set(anchors)]


def test_its_elements_are_closed() -> None:
    """In the correct order."""
    assert [] == READ.wrong


def test_it_has_what_a_screen_reader_needs() -> None:
    """A language, one main landmark, one h1, and a link to skip the contents."""
    counts = [READ.tags.count(tag) for tag in ("main", "h1", "nav", "title")]
    assert ([1, 1, 1, 1], True, "#at-three-in-the-morning") == (counts, '<html lang="en">' in PAGE_TEXT, READ.links[0])


def test_it_needs_no_script_and_nothing_from_elsewhere() -> None:
    """It works where there is no internet, and with JavaScript switched off."""
    fetched = {"script", "img", "link", "iframe", "object", "embed", "form", "input", "button"}
    assert (set(), []) == (fetched & set(READ.tags), [word for word in ("@import", "url(") if word in PAGE_TEXT])


def test_commands_are_shown_as_they_are_written() -> None:
    """Tests run the same commands."""
    shown = re.findall(r"<pre>(.*?)</pre>", PAGE_TEXT, re.DOTALL)
    lines = [line for block in shown for line in re.findall(r"<code>(.*?)</code>", block)]
    plain = [line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for line in lines]
    blocks = [line for section in runbook.sections() for line in section.commands]
    assert blocks == plain[-len(blocks) :]
