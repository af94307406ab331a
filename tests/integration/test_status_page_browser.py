"""The status page in a browser: content, updates, keyboard, and accessibility."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import states
from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from bodies.target import wait_for
from browser import Served, browser, served
from playwright.sync_api import Browser, Page, Route, expect
from serving import Known

from khealth_exporter.core.snapshot import RoutineStatus
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.vocabulary.reason import Reason

DESK = {"viewport": {"width": 1180, "height": 800}}
PACE = 10_000
"""Milliseconds between two requests of the page."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser, one for all tests here."""
    with browser() as started:
        yield started


@pytest.fixture
def known() -> Known:
    """The backend, with a healthy routine."""
    made = Known()
    made.now, made.statuses = states.NOW, (states.well(),)
    return made


@pytest.fixture
def server(known: Known) -> Iterator[Served]:
    """A server of the test's own."""
    with served(known) as serving:
        yield serving


@contextmanager
def opened(
    chromium: Browser,
    url: str,
    below: str = "",
    *,
    clock: bool = True,
    expected: str = "ERR_CONNECTION_REFUSED",
    **how: Any,
) -> Iterator[Page]:
    """Open the page; requests to other sites and policy violations fail the test.

    With `below` a proxy serves it there, and nothing else may be asked for. Its clock stands still unless it is told
    otherwise; complaints that hold `expected` are no fault.
    """
    context = chromium.new_context(**{**DESK, **how})
    strange: list[str] = []
    wrong: list[str] = []

    def guard(route: Route) -> None:
        asked = route.request.url
        if not asked.startswith(url + below):
            strange.append(asked)
            route.abort()
        elif below:
            route.fulfill(response=route.fetch(url=asked.replace(below, "")))
        else:
            route.continue_()

    context.route("**/*", guard)
    page = context.new_page()
    page.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    if clock:
        page.clock.install(time=states.NOW - 300)
        page.clock.pause_at(states.NOW)
    page.goto(url + below)
    try:
        yield page
        assert ([], []) == (strange, [text for text in wrong if expected not in text])
    finally:
        context.unroute_all(behavior="ignoreErrors")  # a picture may still be on its way
        context.close()


def look(page: Page, after: int = PACE) -> None:
    """Advance the page's clock to its next update, and wait for its end."""
    page.clock.run_for(after)
    expect(page.locator("html")).not_to_have_attribute("data-asking", "")


def items(page: Page) -> Any:
    """Return the strip's attempts."""
    return page.locator(".strip a")


def test_the_headline_names_the_broken_component(chromium: Browser, known: Known, server: Served) -> None:
    """With the time and the number of failures."""
    known.statuses = (states.failing(),)
    with opened(chromium, server.url) as page:
        expect(page.locator("h1")).to_have_text(
            "✗The scheduler does not bind pods: since 14:19 UTC (10 min), 11 consecutive failures."
        )


def test_the_page_updates_without_a_reload(chromium: Browser, known: Known, server: Served) -> None:
    """Title, headline, and icon follow the new state."""
    with opened(chromium, server.url) as page:
        page.evaluate("window.same = true")
        known.statuses = (states.failing(),)
        look(page)
        expect(page.locator("h1")).to_contain_text("The scheduler does not bind pods")
        icon = page.locator("link[rel=icon]").get_attribute("href")
        seen = page.title().startswith("✗ failing: The scheduler"), icon, page.evaluate("window.same")
    assert (True, "favicon/failing.svg", True) == seen


def test_an_update_keeps_focus_selection_and_scroll_position(chromium: Browser, known: Known, server: Served) -> None:
    """Also opened details and the selected attempt."""
    story = states.Story().then(None, times=99)
    known.statuses = (story.told(),)
    with opened(chromium, server.url, viewport={"width": 1180, "height": 300}) as page:
        page.get_by_text("All attempts as a table").click()
        items(page).nth(50).focus()
        page.evaluate("getSelection().selectAllChildren(document.querySelector('h3'))")
        page.evaluate("document.querySelector('.strip').scrollIntoView({behavior: 'instant'})")
        keep = """() => [document.querySelector('.strip').getBoundingClientRect().top, document.activeElement.hash,
            document.querySelector("[id$='.attempts']").open, String(getSelection()),
            document.querySelector('.strip a[aria-current]').hash, document.querySelector('.pane dd').textContent]"""
        place, *before = page.evaluate(keep)
        known.statuses = (story.then(Reason.POD_NOT_SCHEDULED, None).told(),)
        look(page)
        expect(page.locator(".strip a.failure")).to_have_count(1)
        moved, *after = page.evaluate(keep)
    assert before == after
    assert abs(moved - place) < 2


def test_focus_moves_to_latest_attempt_when_selected_one_expires(
    chromium: Browser, known: Known, server: Served
) -> None:
    """The keyboard focus is never lost."""
    story = states.Story().then(None, times=100)
    known.statuses = (story.told(),)
    with opened(chromium, server.url) as page:
        items(page).first.focus()
        known.statuses = (story.then(None).told(),)
        look(page)
        expect(items(page).last).to_be_focused()


def test_only_changes_are_announced(chromium: Browser, known: Known, server: Served) -> None:
    """A screen reader does not repeat an unchanged state."""
    with opened(chromium, server.url) as page:
        look(page)
        quiet = page.locator("#news").text_content()
        known.statuses = (states.failing(),)
        look(page)
        expect(page.locator("#news")).to_have_text("rcscheduler is failing: The scheduler does not bind pods.")
    assert "" == quiet


def test_the_page_reports_when_khealth_does_not_answer(chromium: Browser, known: Known, server: Served) -> None:
    """And updates when khealth answers again."""
    with opened(chromium, server.url) as page:
        server.stop()
        look(page)
        expect(page.locator("#silence")).to_have_text(
            re.compile(r"^khealth has not answered since \d\d:\d\d:\d\d UTC\. The status below is out of date\.$")
        )
        told = page.title()
        server.start()
        known.statuses = (states.failing(),)
        look(page)
        expect(page.locator("#silence")).to_have_text("")
        expect(page.locator("#news")).to_contain_text("rcscheduler is failing")
    assert "khealth does not answer" == told


def test_the_interval_grows_when_khealth_does_not_answer(chromium: Browser, server: Served) -> None:
    """It doubles after the second failed request."""
    with opened(chromium, server.url) as page:
        server.stop()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.resource_type))
        counts = []
        for wait in (PACE, PACE, 2 * PACE - 1, 1):
            look(page, wait)
            counts.append(asked.count("xhr"))
    assert [1, 2, 2, 3] == counts


def test_an_unexpected_page_is_not_shown(chromium: Browser, server: Served) -> None:
    """For example the login page of a proxy."""
    with opened(chromium, server.url) as page:
        page.route(server.url, lambda route: route.fulfill(body="<h1>Log in</h1>", content_type="text/html"))
        look(page)
        expect(page.locator("#silence")).to_contain_text("(unexpected content)")
        expect(page.locator("h1")).to_contain_text("Healthy: ")


def test_a_hidden_page_sends_no_requests(chromium: Browser, server: Served) -> None:
    """It updates at once when it becomes visible."""
    hide = """(hidden) => { Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange")); }"""
    with opened(chromium, server.url) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.resource_type))
        page.evaluate(hide, arg=True)
        look(page, 20 * PACE)
        before = asked.count("xhr")
        page.evaluate(hide, arg=False)
        look(page, 0)
    assert (0, 1) == (before, asked.count("xhr"))


@pytest.fixture(scope="module")
def strip(chromium: Browser) -> Iterator[Page]:
    """A page that several tests share."""
    known = Known()
    known.now, known.statuses = states.NOW, (states.well(),)
    with served(known) as server, opened(chromium, server.url) as page:
        yield page


@pytest.mark.parametrize(
    ("keys", "at"),
    [
        ("ArrowLeft", 98), ("ArrowUp", 98), ("ArrowRight", 99), ("Home", 0), ("Home ArrowRight", 1),
        ("Home ArrowDown", 1), ("Home ArrowLeft", 0), ("Home End", 99),
    ],
)  # fmt: skip
def test_the_strip_is_usable_by_keyboard(strip: Page, keys: str, at: int) -> None:
    """With the arrow keys, Home, and End; the pane shows each attempt."""
    items(strip).last.focus()
    for key in keys.split():
        strip.keyboard.press(key)
    expect(items(strip).nth(at)).to_be_focused()
    expect(strip.locator('.strip a[tabindex="0"]')).to_have_count(1)
    began = str(items(strip).nth(at).get_attribute("title"))[:19]
    expect(strip.locator(".pane")).to_contain_text(began)


def test_an_attempt_is_opened_and_closed_by_keyboard(chromium: Browser, known: Known, server: Served) -> None:
    """With Enter and Escape."""
    known.statuses = (states.failing(),)
    with opened(chromium, server.url) as page:
        items(page).last.focus()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        expect(page.locator(".pane")).to_be_focused()
        items(page).first.hover()
        expect(page.locator(".pane")).to_contain_text("pod_not_scheduled (scheduler)")
        page.keyboard.press("Escape")
        expect(items(page).nth(98)).to_be_focused()


def test_hovering_an_attempt_shows_its_details(chromium: Browser, known: Known, server: Served) -> None:
    """Start, verdict, reason, component, note, duration, steps, and evidence."""
    known.statuses = (states.failing(),)
    with opened(chromium, server.url) as page:
        items(page).last.hover()
        pairs = page.locator(".pane dl > div")
        told = dict(zip(pairs.locator("dt").all_text_contents(), pairs.locator("dd").all_text_contents(), strict=True))
    expected = ("2026-11-23 14:29:28", "failure", "pod_not_scheduled (scheduler)", "stuck after 20.00 s", True, True)
    words = "the scheduler has not reported on the pod" in told["note"], "phase Pending" in told["evidence"]
    assert expected == (told["started (UTC)"], told["result"], told["reason"], told["schedule"], *words)


def test_titles_contain_the_local_time(chromium: Browser, server: Served) -> None:
    """The page itself shows UTC."""
    with opened(chromium, server.url, timezone_id="Asia/Tokyo", locale="en-GB") as page:
        title = page.locator("header time").last.get_attribute("title")
    assert "23 Nov 2026, 23:30:00 GMT+9" == title


def test_the_page_works_without_javascript(chromium: Browser, known: Known, server: Served) -> None:
    """Each attempt links to its row, and the page reloads itself."""
    known.statuses = (states.failing(),)
    with opened(chromium, server.url, clock=False, java_script_enabled=False) as page:
        items(page).last.click()
        row = page.locator("tr:target")
        expect(row).to_be_visible()
        expect(row).to_contain_text("pod_not_scheduled (scheduler)")
        refresh = page.locator("noscript meta").get_attribute("http-equiv")
    assert "refresh" == refresh


def test_the_page_works_behind_the_api_servers_proxy(chromium: Browser, known: Known, server: Served) -> None:
    """All its requests are below its path."""
    path = "api/v1/namespaces/khealth/services/khealth:8080/proxy/"
    with opened(chromium, server.url, path) as page:
        known.statuses = (states.failing(),)
        look(page)
        expect(page.locator("h1")).to_contain_text("The scheduler does not bind pods")
        links = page.evaluate("[...document.querySelectorAll('footer a')].map((link) => link.href)")
    assert [server.url + path + name for name in ("runbook", "metrics", "status", "config")] == links


def test_injected_markup_does_not_run(chromium: Browser, server: Served) -> None:
    """The policy blocks injected scripts, handlers, images, and markup from strings."""
    hostile = "<script>ran = 1</script><img src='http://elsewhere.example/' onerror='ran = 2'><a onfocus='ran = 3' autofocus href='#'>x</a></body>"
    written = "() => { try { document.body.innerHTML = '<b>x</b>'; } catch (error) { return error.name; } }"

    def inject(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("</body>", hostile))

    with opened(chromium, server.url, expected="The action has been blocked") as page:
        page.route(server.url, inject)
        page.reload()
        ran = page.evaluate("typeof ran"), page.locator("img").count(), page.evaluate(written)
    assert ("undefined", 1, "TypeError") == ran


STATES: dict[str, tuple[tuple[RoutineStatus, ...], tuple[Denied, ...]]] = {
    "well": ((states.well(),), ()),
    "failing": ((states.failing(), states.well("pool-a"), states.suspended("pool-b")), ()),
    "inconclusive": ((states.inconclusive(),), ()),
    "suspended": ((states.suspended(),), ()),
    "expired": ((states.expired(),), ()),
    "waiting": ((states.waiting(),), ()),
    "forbidden": ((states.Story().then(Reason.FORBIDDEN, times=3).told(),), states.LACKING),
    "nothing": ((), ()),
}
RECENT = 3
"""Attempts on the page: more would only take more time."""
DEVICES = (("light", 1180), ("dark", 320))
"""Colors do not depend on the width, so two combinations cover both schemes and widths."""


@pytest.fixture(scope="module")
def examined(chromium: Browser) -> Iterator[tuple[Page, Known]]:
    """A page with axe-core, and the backend of its server."""
    known = Known()
    known.now = states.NOW
    with served(known) as server, opened(chromium, server.url, clock=False) as page:
        page.add_init_script(AXE_SCRIPT)
        yield page, known


@pytest.mark.parametrize("state", STATES)
def test_the_page_is_accessible(examined: tuple[Page, Known], state: str) -> None:
    """axe-core finds no violations, and at 320 pixels there is no horizontal scrolling."""
    page, known = examined
    statuses, known.lacking = STATES[state]
    known.statuses = tuple(replace(status, attempts=status.attempts[-RECENT:]) for status in statuses)
    page.reload()
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    if items(page).count():
        items(page).last.focus()
    found = set()
    for scheme, width in DEVICES:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 600})
        violations = page.evaluate("axe.run({ resultTypes: ['violations'] }).then((found) => found.violations)")
        found |= {(scheme, width, rule["id"], node["html"][:150]) for rule in violations for node in rule["nodes"]}
    assert (set(), 320) == (found, page.evaluate("document.documentElement.scrollWidth"))


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[str]:
    """The address of a real `khealth demo` with a stopped scheduler."""
    out = tmp_path / "stdout"
    words = [
        sys.executable,
        "-m",
        "khealth_exporter",
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--fault",
        "scheduler-stalled",
    ]
    with out.open("wb") as stream, (tmp_path / "stderr").open("wb") as log:
        process = subprocess.Popen(words, stdout=stream, stderr=log)  # noqa: S603
    try:
        found = wait_for("the address", lambda: re.search(r"http://[\d.:]+/", out.read_text()), 30)
        yield found.group()
    finally:
        process.terminate()
        process.wait(20)


def test_the_page_of_a_demo_names_the_broken_component(chromium: Browser, demo: str) -> None:
    """Without a reload."""
    with opened(chromium, demo, clock=False) as page:
        expect(page.locator("h1")).to_contain_text("The scheduler does not bind pods", timeout=60_000)
        expect(page.locator(".legend").first).to_contain_text("schedule stuck after")
        expect(page.get_by_role("link", name="Runbook: pod_not_scheduled").first).to_have_attribute(
            "href", "runbook#pod_not_scheduled"
        )
