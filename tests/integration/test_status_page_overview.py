"""The overview of twenty routines in a browser: its size, its links, and unfolded details."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import states
import twenty
from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from browser import Served, browser, served
from playwright.sync_api import Browser, Locator, Page, expect
from serving import Known

from khealth_exporter.config import Off
from khealth_exporter.core.snapshot import RoutineStatus
from khealth_exporter.vocabulary.reason import Reason

DESK, PHONE = (1280, 800), (390, 844)
SCREENS = (("light", DESK), ("dark", PHONE), ("dark", DESK), ("light", PHONE))
"""The first two cover both schemes and widths."""
PACE = 10_000
"""Milliseconds between two requests of the page."""
OFF = (Off("storage", "snapshot", "module storage is off by default"),)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser, one for all tests here."""
    with browser() as started:
        yield started


@pytest.fixture
def known() -> Known:
    """The backend, with twenty routines in every state."""
    made = Known()
    made.now, made.statuses, made.left_out = states.NOW, few(twenty.twenty()), OFF
    return made


@pytest.fixture
def server(known: Known) -> Iterator[Served]:
    """A server of the test's own."""
    with served(known) as serving:
        yield serving


@pytest.fixture
def page(chromium: Browser, server: Served) -> Iterator[Page]:
    """The page, whose clock the test advances."""
    context = chromium.new_context(viewport={"width": DESK[0], "height": DESK[1]})
    made = context.new_page()
    made.clock.install(time=states.NOW - 300)
    made.clock.pause_at(states.NOW)
    made.goto(server.url)
    yield made
    context.close()


def few(statuses: tuple[RoutineStatus, ...]) -> tuple[RoutineStatus, ...]:
    """Return routines with some attempts each: more would only take more time."""
    return tuple(replace(status, attempts=status.attempts[-12:]) for status in statuses)


def look(page: Page) -> None:
    """Advance the page's clock to its next update, and wait for its end."""
    page.clock.run_for(PACE)
    expect(page.locator("html")).not_to_have_attribute("data-asking", "")


def detail(page: Page, name: str) -> Locator:
    """Return the details of a routine."""
    return page.locator(f"[id='{name}.detail']")


@pytest.mark.parametrize("ill", [True, False])
def test_twenty_routines_fit_one_screen(page: Page, known: Known, ill: bool) -> None:
    """With the headline above them."""
    known.statuses, known.left_out = few(twenty.twenty(ill=ill)), ()
    page.reload()
    lines = page.locator(".routines tr[id]")
    expect(lines).to_have_count(20)
    bottom = page.evaluate("document.querySelector('.routines').getBoundingClientRect().bottom")
    assert (True, DESK[0]) == (bottom <= DESK[1], page.evaluate("document.documentElement.scrollWidth"))


def test_a_phone_has_every_line_without_horizontal_scrolling(page: Page) -> None:
    """A line has its routine, symbol, age, duration, and chart, each within the screen and on one line."""
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    line = page.locator("[id='workloads.deployment.line']")
    cells = [cell.bounding_box() for cell in line.locator("th, td").all() if cell.is_visible()]
    right = max(box["x"] + box["width"] for box in cells if box)
    height = max(box["height"] for box in cells if box)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert (6, True, True, PHONE[0]) == (len(cells), right <= PHONE[0], height < 30, width)


def test_a_link_of_the_overview_unfolds_the_details(page: Page) -> None:
    """And scrolls to them."""
    expect(detail(page, "storage.volume")).not_to_have_attribute("open", "")
    link = page.locator("[id='storage.volume.line'] a")
    link.focus()
    page.keyboard.press("Enter")
    expect(detail(page, "storage.volume")).to_have_attribute("open", "")
    expect(page.locator("[id='storage.volume']")).to_be_in_viewport()


def test_a_link_of_the_overview_unfolds_without_javascript(chromium: Browser, server: Served) -> None:
    """The browser does it."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(server.url)
    page.locator("[id='storage.volume.line'] a").click()
    expect(page.locator("[id='storage.volume'] h3").first).to_be_visible()
    context.close()


def test_the_headline_leads_to_what_fails(page: Page) -> None:
    """To the second finding too."""
    page.locator("header").get_by_role("link", name="controllers").click()
    expect(page.locator("[id='control-plane.controllers']")).to_be_in_viewport()


def test_an_update_folds_and_unfolds_nothing(page: Page, known: Known) -> None:
    """Neither what the user opened nor what the user closed, whatever the new states are."""
    detail(page, "storage.volume").locator("summary").first.click()
    detail(page, "rcscheduler.rcscheduler").locator("summary").first.click()
    page.evaluate("window.same = true")
    known.statuses = few(twenty.twenty(ill=False))
    look(page)
    expect(page.locator("h1")).to_contain_text("Healthy")
    expect(detail(page, "storage.volume")).to_have_attribute("open", "")
    expect(detail(page, "rcscheduler.rcscheduler")).not_to_have_attribute("open", "")
    assert page.evaluate("window.same")


def test_an_update_keeps_the_focus_in_the_overview(page: Page, known: Known) -> None:
    """Although its line has changed, and one above it has gone."""
    link = page.locator("[id='storage.volume.line'] a")
    link.focus()
    known.statuses = few(twenty.twenty(ill=False))[1:]
    look(page)
    expect(page.locator("[id='rcscheduler.rcscheduler.line']")).to_have_count(0)
    expect(link).to_be_focused()


def test_focus_in_unfolded_details_moves_to_the_latest_attempt(page: Page, known: Known) -> None:
    """When the focused attempt has expired."""
    story = states.Story().then(None, times=12)
    known.statuses = (*few((story.told(),)), *known.statuses[1:])
    page.reload()
    detail(page, "rcscheduler.rcscheduler").locator("summary").first.click()
    strip = detail(page, "rcscheduler.rcscheduler").locator(".strip a")
    strip.first.focus()
    known.statuses = (*few((story.then(None).told(),)), *known.statuses[1:])
    look(page)
    expect(strip.last).to_be_focused()


@pytest.mark.parametrize("unfolded", [False, True])
def test_the_overview_is_accessible(page: Page, known: Known, unfolded: bool) -> None:
    """axe-core finds no violations in either color scheme, on a desk and on a phone."""
    known.statuses = tuple(replace(status, attempts=status.attempts[-2:]) for status in known.statuses)
    page.add_init_script(AXE_SCRIPT)
    page.clock.resume()
    page.reload()
    if unfolded:
        page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    found = set()
    for scheme, (width, height) in SCREENS[:2] if unfolded else SCREENS:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": height})
        violations = page.evaluate("axe.run({ resultTypes: ['violations'] }).then((found) => found.violations)")
        found |= {(scheme, width, rule["id"], node["html"][:150]) for rule in violations for node in rule["nodes"]}
        found |= (
            {(scheme, width, "wide", "")} if page.evaluate("document.documentElement.scrollWidth") > width else set()
        )
    assert set() == found


def test_a_routine_that_begins_to_fail_is_announced_and_leads_the_page(page: Page, known: Known) -> None:
    """Although its details stay folded."""
    story = states.Story().then(None, times=8).then(Reason.POD_NOT_SCHEDULED, times=2)
    known.statuses = few(twenty.twenty(ill=False))
    page.reload()
    known.statuses = (story.told(), *known.statuses[1:])
    look(page)
    expect(page.locator("#news")).to_have_text("rcscheduler is failing: The scheduler does not bind pods.")
    expect(page.locator("header").get_by_role("link", name="rcscheduler")).to_be_visible()
