"""The overview of all routines at the top of the status page."""

from dataclasses import replace

import pytest
import states
import twenty
from page_elements import Element, read, shown
from serving import WELL

from khealth_exporter.config import Off
from khealth_exporter.core.snapshot import Attempt, RoutineStatus, State
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.verdict import Verdict
from khealth_exporter.web.page.recent_attempts import chart

OFF = (
    Off("m", "volume", "module m is off by default"),
    Off("m", "disk", "module m is off by default"),
    Off("n", "egress", "it has a required setting: targets"),
)


def took(*durations: float, reason: Reason | None = None) -> RoutineStatus:
    """Return a routine whose attempts succeeded, except the last if there is a reason."""
    attempts = [replace(WELL, number=number, duration=seconds) for number, seconds in enumerate(durations)]
    if reason:
        attempts[-1] = replace(attempts[-1], verdict=Verdict(reason.result, reason, "so", reason.component))
    return RoutineStatus("m", "a", 60.0, (), State.WELL, states.NOW - 720, attempts=tuple(attempts))


def line(status: RoutineStatus) -> list[Element]:
    """Return the cells of a routine in the overview of a page that has another one too."""
    (row,) = shown(status, states.waiting()).all("tr", id=f"{status.module}.{status.routine}.line")
    return [cell for cell in row.all() if cell.name in {"th", "td"}]


def bars(*attempts: Attempt) -> dict[str, list[str]]:
    """Return the bars of a chart, by the result of their attempts."""
    page = read("".join(chart(replace(took(1.0), attempts=attempts))))
    return {str(path.attributes["class"]): str(path.attributes["d"])[1:].split("M") for path in page.all("path")}


def test_a_line_has_state_time_duration_and_reason() -> None:
    """Everything that is compared at a glance."""
    status = replace(
        took(1.0, 1.0, 1.0, 1.0, 1.0, 20.0, reason=Reason.POD_NOT_SCHEDULED),
        state=State.FAILING, consecutive_failures=11,
    )  # fmt: skip
    expected = [
        "a",
        "✗failing",
        "14:18 12 min",
        "20.00 s",
        "▲ 20.0\N{MULTIPLICATION SIGN}",
        "",
        "11 \N{MULTIPLICATION SIGN} pod_not_scheduled (scheduler)",
    ]
    assert expected == [cell.text for cell in line(status)]


def test_a_line_leads_to_the_section() -> None:
    """By a link, so that it works without a script."""
    (link,) = line(took(1.0))[0].all("a")
    assert "#m.a" == link.attributes["href"]


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ((1.0, 1.0, 1.0, 1.0, 1.5), ("1.50 s", "1.5\N{MULTIPLICATION SIGN}")),
        ((1.0, 1.0, 1.0, 1.0, 2.0), ("2.00 s", "▲ 2.0\N{MULTIPLICATION SIGN}")),
        ((1.0, 1.0, 1.0, 2.0), ("2.00 s", "")),
        ((0.0,) * 5, ("0 ms", "")),
    ],
    ids=["usual", "slow", "too few", "nothing to divide by"],
)
def test_the_last_duration_is_compared_with_the_median(durations: tuple[float, ...], expected: tuple[str, str]) -> None:
    """Of this routine's own successful attempts; a slow one is marked."""
    cells = line(took(*durations))
    assert expected == (cells[3].text, cells[4].text)


def test_a_failure_does_not_count_in_the_median() -> None:
    """It lasts until a deadline, which says nothing of the usual duration."""
    assert (
        "▲ 20.0\N{MULTIPLICATION SIGN}"
        == line(took(1.0, 1.0, 1.0, 1.0, 1.0, 20.0, reason=Reason.POD_NOT_READY))[4].text
    )


def test_an_attempt_under_way_has_no_duration_yet() -> None:
    """The one before it has."""
    status = took(1.0, 1.0, 1.0, 1.0, 1.0, 0.1)
    running = replace(status.attempts[-1], ended=None)
    assert "1.00 s" == line(replace(status, attempts=(*status.attempts[:-1], running)))[3].text


def test_the_section_names_the_median() -> None:
    """The overview has only the ratio."""
    assert "Median duration1.00 s, of successful attempts" in shown(took(1.0, 1.0, 1.0, 1.0, 9.0)).text


def test_the_chart_tells_its_results_in_words() -> None:
    """For a screen reader."""
    (picture,) = read("".join(chart(states.failing()))).all("svg")
    assert "Last 30 attempts: 19 success, 11 failure" == picture.attributes["aria-label"]


def test_the_latest_attempt_is_at_the_right() -> None:
    """Also while there are few."""
    assert {"success": ["114 16v-8", "118 16v-8"]} == bars(WELL, replace(WELL, number=2))


def test_a_failure_has_the_full_height() -> None:
    """Results differ in shape, and not only in color."""
    broken = replace(WELL, number=2, verdict=Verdict(Result.FAILURE, Reason.POD_CRASHED, ""))
    unknown = replace(WELL, number=3, verdict=Verdict(Result.INCONCLUSIVE, Reason.THROTTLED, ""))
    slow = replace(WELL, number=4, duration=1000.0)
    expected = {"success": ["106 16v-8", "118 16v-14"], "failure": ["110 16v-16"], "inconclusive": ["114 16v-16"]}
    assert expected == bars(WELL, broken, unknown, slow)


def test_a_routine_without_attempts_has_no_chart() -> None:
    """And no duration."""
    assert "" == "".join(chart(states.waiting()))


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (states.suspended("a"), "khealth makes no attempts"),
        (replace(states.suspended("a"), suspended_until=states.NOW + 3600), "until 15:30 UTC"),
        (states.expired(), "no attempt has ended for three intervals"),
        (replace(states.waiting(), routine="b"), "no attempt has ended"),
        (states.inconclusive(), "throttled (api_server)"),
    ],
)
def test_a_routine_without_a_verdict_says_why(status: RoutineStatus, why: str) -> None:
    """Suspended, expired, waiting, or inconclusive."""
    (row,) = shown(status, took(1.0)).all("tr", id=f"rcscheduler.{status.routine}.line")
    assert why == row.all("td")[-1].text


def test_routines_that_are_off_say_why() -> None:
    """In the lines of their module, in one line if they have the same reason."""
    page = shown(took(1.0), off=OFF)
    modules = {
        str(body.attributes.get("id")): [row.text for row in body.all("tr", class_="off")] for body in page.all("tbody")
    }
    expected = {
        "overview.m": ["volume, disk\N{EN DASH}offmodule m is off by default"],
        "overview.n": ["egress\N{EN DASH}offit has a required setting: targets"],
    }
    assert expected == {name: rows for name, rows in modules.items() if name in expected}


def test_one_routine_has_no_overview() -> None:
    """Its section says the same."""
    assert [[], 1] == [
        shown(took(1.0)).all("table", class_="routines"),
        len(shown(took(1.0), off=OFF).all("table", class_="routines")),
    ]


def test_lines_are_grouped_by_module() -> None:
    """In the order of the configuration."""
    groups = [head.text for head in shown(*twenty.twenty()).all("th", scope="rowgroup")]
    assert ["rcscheduler", "control-plane", "workloads", "storage", "network", "custom"] == groups


def test_only_sections_that_fail_are_unfolded_at_first() -> None:
    """The overview has the rest."""
    details = shown(*twenty.twenty()).all("details", class_="routine")
    unfolded = [one.attributes["id"] for one in details if "open" in one.attributes]
    assert (20, ["rcscheduler.rcscheduler.detail", "control-plane.controllers.detail"]) == (len(details), unfolded)


def test_the_only_section_is_unfolded() -> None:
    """There is nothing else to see."""
    (section,) = shown(took(1.0)).all("details", class_="routine")
    assert "open" in section.attributes
