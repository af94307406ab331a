"""The content of the status page, and that text from the cluster cannot break it."""

import base64
import hashlib
import itertools
from dataclasses import replace

import pytest
import states
import twenty
from hypothesis import given
from hypothesis import strategies as st
from page_elements import Element, by_module, read, shown
from serving import BROKEN, FAILING, WELL

from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, READY, SANDBOX, SCHEDULE, START
from khealth_exporter.core.snapshot import About, Attempt, RoutineStatus, Snapshot, State
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Phase
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Evidence, Verdict
from khealth_exporter.web.page import CONTENT_SECURITY_POLICY, favicon, status_page
from khealth_exporter.web.page.formatting import measured_duration, rounded_duration
from khealth_exporter.web.page.markup import Markup, tag
from khealth_exporter.web.page.reason_texts import REASON_TEXTS
from khealth_exporter.web.page.step_chart import step_charts


def facts(status: RoutineStatus) -> dict[str, str]:
    """Return the facts of a routine."""
    (block,) = shown(status).all("dl", class_="facts")
    return dict(zip((e.text for e in block.all("dt")), (e.text for e in block.all("dd")), strict=True))


def test_every_reason_has_a_text() -> None:
    """The page explains each reason."""
    assert set(Reason) == set(REASON_TEXTS)


@pytest.mark.parametrize("reason", REASON_TEXTS)
def test_the_texts_of_a_reason_fit_their_place(reason: Reason) -> None:
    """One precedes a time, the other is a sentence; all texts are different."""
    now, then = REASON_TEXTS[reason]
    alike = [other for other in REASON_TEXTS if other is not reason and set(REASON_TEXTS[other]) & {now, then}]
    assert (True, False, True, []) == (now[0].isupper(), now.endswith("."), then.endswith("."), alike)


def some(state: State, routine: str = "a", **more: object) -> RoutineStatus:
    """Return a routine in a state, since twelve minutes ago."""
    return replace(RoutineStatus("m", routine, 60.0, (), state, states.NOW - 720), **more)  # type: ignore[arg-type]


def failed(reason: Reason, count: int = 1, routine: str = "a", state: State = State.FAILING) -> RoutineStatus:
    """Return a routine whose last attempt ended with a reason."""
    attempt = Attempt(
        7, states.NOW - 60, Phase.CLEANUP, 1.0, Verdict(reason.result, reason, "so it is"), states.NOW - 50
    )
    return some(state, routine, consecutive_failures=count, attempts=(attempt,), last_failure=attempt)


DEAD = (Remark("failing nodes", "node-3 (kubelet_silent)", failing=True),)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((some(State.WELL),), "✓Healthy: all attempts have succeeded since 14:18 UTC (12 min)."),
        ((failed(Reason.POD_NOT_SCHEDULED, 11),), "✗The scheduler does not bind pods: since 14:18 UTC (12 min), 11 consecutive failures."),
        ((failed(Reason.POD_NOT_SCHEDULED),), "✗The scheduler does not bind pods: since 14:18 UTC (12 min), 1 failure."),
        ((failed(Reason.DNS_FAILED, 3), failed(Reason.DNS_FAILED, 5, "b")), "✗DNS does not answer: since 14:18 UTC (12 min), 5 consecutive failures, in 2 routines."),
        ((failed(Reason.FORBIDDEN, 0, state=State.INCONCLUSIVE),), "?No verdict since 14:18 UTC (12 min): a required permission is missing."),
        ((failed(Reason.THROTTLED, 4, state=State.INCONCLUSIVE),), "?No verdict since 14:18 UTC (12 min): the API server throttles khealth; 4 consecutive failures before that."),
        ((some(State.EXPIRED),), "?No verdict since 14:18 UTC (12 min): no attempt has ended for three intervals."),
        ((some(State.WAITING, since=None),), "…No verdict yet: no attempt has ended."),
        ((some(State.SUSPENDED),), "\N{EN DASH}Suspended since 14:18 UTC (12 min): khealth makes no attempts."),
        ((), "…No routines are configured."),
        ((some(State.WELL), some(State.WELL, "b", since=states.NOW - 60)), "✓Healthy: all attempts have succeeded since 14:29 UTC (1 min)."),
        ((some(State.WELL, since=states.NOW - 2 * 86400),), "✓Healthy: all attempts have succeeded since 2026-11-21 14:30 UTC (2 d)."),
        ((some(State.WELL), some(State.SUSPENDED, "b")), "✓Healthy: all attempts have succeeded since 14:18 UTC (12 min)."),
        ((some(State.WELL, remarks=DEAD),), "✓Healthy, except failing nodes: node-3 (kubelet_silent)."),
        ((some(State.WELL), some(State.WELL, "b", remarks=DEAD)), "✓Healthy, except failing nodes: node-3 (kubelet_silent)."),
        ((some(State.WELL, remarks=(Remark("failing nodes", "none"),)),), "✓Healthy: all attempts have succeeded since 14:18 UTC (12 min)."),
        ((some(State.EXPIRED, remarks=DEAD),), "?No verdict since 14:18 UTC (12 min): no attempt has ended for three intervals."),
        ((some(State.FAILING, consecutive_failures=2),), "✗Attempts fail: since 14:18 UTC (12 min), 2 consecutive failures."),
    ],
)  # fmt: skip
def test_the_headline_summarizes_the_state(statuses: tuple[RoutineStatus, ...], expected: str) -> None:
    """What is broken, since when, and how often; or that the cluster is healthy; or why there is no verdict."""
    assert [expected] == [heading.text for heading in shown(*statuses).all("h1")]


def test_what_still_fails_follows_the_headline_of_another_state() -> None:
    """One routine's failure must not hide another's node."""
    (header,) = shown(failed(Reason.DNS_FAILED, 2), some(State.WELL, "b", remarks=DEAD)).all("header")
    said = [element.text for element in header.all("p")]
    assert "Also: Healthy, except failing nodes: node-3 (kubelet_silent). Details: b" in said


def test_what_still_fails_leads_to_its_evidence() -> None:
    """The last failure is another attempt than the last one."""
    silent = replace(BROKEN, verdict=Verdict(Result.FAILURE, Reason.KUBELET_SILENT, "so"))
    links = []
    for last_failure in (silent, BROKEN):  # Another routine's reason leads elsewhere.
        (header,) = shown(replace(some(State.WELL, remarks=DEAD), last_failure=last_failure)).all("header")
        found = [link.attributes["href"] for link in header.all("a")]
        links.append([href for href in found if "runbook" in str(href)])
    assert [["runbook#kubelet_silent"], []] == links


def test_the_section_and_the_table_name_what_still_fails() -> None:
    """A badge that says `well` is not all that is known."""
    page = shown(some(State.WELL), some(State.WELL, "b", remarks=DEAD))
    told = "failing nodes: node-3 (kubelet_silent)"
    assert f"Still failing: {told}. The last attempt succeeded." in [element.text for element in page.all("p")]
    assert 1 == sum(told in cell.text for cell in page.all("td"))


def test_the_section_lists_remarks() -> None:
    """What `/status` lists, the page does too."""
    page = shown(some(State.WELL, remarks=(Remark("round", "3 usable nodes"),)))
    assert ("Round", "3 usable nodes") in [tuple(part.text for part in row.all()) for row in page.all("div")]


def test_further_findings_follow_the_headline() -> None:
    """The oldest finding comes first."""
    younger = replace(failed(Reason.DNS_FAILED, 2, "b"), since=states.NOW - 60)
    (header,) = shown(younger, failed(Reason.POD_NOT_SCHEDULED, 11)).all("header")
    said = [element.text for element in header.all() if element.name in {"h1", "p"}]
    expected = (
        "Also: DNS does not answer: since 14:29 UTC (1 min), 2 consecutive failures. Runbook: dns_failed · Details: b"
    )
    assert expected in said


def test_the_headline_links_to_every_failing_routine() -> None:
    """Also where two have the same finding."""
    failing = failed(Reason.DNS_FAILED, 2, "b"), failed(Reason.DNS_FAILED, 3, "c"), failed(Reason.POD_NOT_SCHEDULED)
    (header,) = shown(*failing).all("header")
    links = {str(link.attributes["href"]) for link in header.all("a")}
    assert {"#m.a", "#m.b", "#m.c"} == {link for link in links if link.startswith("#")}


def test_of_many_findings_only_the_routines_are_named() -> None:
    """The overview must stay on the screen when everything fails."""
    reasons = (Reason.DNS_FAILED, Reason.POD_NOT_SCHEDULED, Reason.POD_CRASHED, Reason.API_ERROR, Reason.API_TIMEOUT)
    failing = [
        replace(failed(reason, 2, f"r{place}"), since=states.NOW - 900 + place) for place, reason in enumerate(reasons)
    ]
    (header,) = shown(*failing).all("header")
    said = [element.text for element in header.all("p")]
    assert ("Also: r3, r4.", 3) == (said[3], sum("Details" in text for text in said))


def test_suspended_routines_are_named() -> None:
    """The headline does not cover them."""
    (header,) = shown(some(State.WELL), some(State.SUSPENDED, "b")).all("header")
    assert "Suspended (state unknown): b." in [element.text for element in header.all("p")]


def test_the_title_contains_the_state() -> None:
    """For the browser's tab."""
    assert ["✗ failing: The scheduler does not bind pods · khealth"] == [
        title.text for title in shown(states.failing()).all("title")
    ]


@pytest.mark.parametrize("state", list(State))
def test_the_page_links_to_the_icon_of_its_state(state: State) -> None:
    """With a relative link."""
    assert f"favicon/{state}.svg" in [link.attributes["href"] for link in shown(some(state)).all("link")]


def test_the_icons_of_different_states_differ() -> None:
    """In shape too, not only in color."""
    assert 4 == len({favicon(state) for state in (State.WELL, State.FAILING, State.INCONCLUSIVE, State.SUSPENDED)})


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("State", "failing since 14:19 UTC (10 min)"),
        ("Consecutive failures", "11"),
        ("Last attempt", "2026-11-23 14:29:28 UTC (32 s ago): failure, pod_not_scheduled (scheduler), took "),
        ("Last success", "2026-11-23 14:18:49 UTC (11 min ago)"),
        ("Interval", "60 s"),
        ("Next attempt", "2026-11-23 14:30:28 UTC (in 28 s)"),
    ],
)
def test_a_routine_has_a_list_of_facts(word: str, value: str) -> None:
    """With absolute times and ages."""
    assert value == facts(states.failing())[word][: len(value)]


def test_a_skipped_attempt_is_a_fact() -> None:
    """With why, and since when; without one there is no such fact."""
    expected = "API server is throttling: attempt skipped at 2026-11-23 14:29:30 UTC (30 s ago)"
    assert expected == facts(replace(states.failing(), skipped=states.NOW - 30))["Skipped"]
    assert "Skipped" not in facts(states.failing())


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (states.waiting(), "due now"),
        (states.suspended(), "none while suspended"),
        (
            replace(states.suspended(), suspended_until=states.NOW + 7200),
            "none while suspended, until 2026-11-23 16:30:00 UTC (in 2 h)",
        ),
        (
            replace(states.waiting(), attempts=(Attempt(1, states.NOW - 5, Phase.INIT),)),
            "running (poll), started 2026-11-23 14:29:55 UTC",
        ),
    ],
)
def test_the_next_attempt_is_described(status: RoutineStatus, expected: str) -> None:
    """It is due, suspended, or running."""
    assert expected == facts(status)["Next attempt"]


def test_the_page_works_before_the_first_attempt() -> None:
    """Without attempts and successes."""
    told = facts(states.waiting())
    assert ("none yet", "none yet") == (told["Last attempt"], told["Last success"])


def test_a_failure_is_shown_with_sentence_note_evidence_and_runbook() -> None:
    """In one place."""
    (why,) = shown(states.failing()).all("div", class_="why")
    said = why.text
    words = (
        "The scheduler did not bind the pod. pod_not_scheduled (scheduler)",
        "the scheduler has not reported on the pod",
        "phase Pending on no node",
    )
    links = [link.attributes["href"] for link in why.all("a")]
    assert ([], ["runbook#pod_not_scheduled"]) == ([word for word in words if word not in said], links)


def test_an_earlier_failure_is_collapsed() -> None:
    """It can be opened."""
    folded = [e for e in shown(states.well()).all("details") if (e.attributes["id"] or "").endswith(".failure")]
    assert (1, False, True) == (len(folded), "open" in folded[0].attributes, "pod_not_ready (node)" in folded[0].text)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (Measurement(SCHEDULE, 0.006, 0.002), "6 ± 2 ms"),
        (Measurement(SCHEDULE, 0.006, 0.0002), "6 ± <1 ms"),
        (Measurement(START, 1.25, 0.004), "1.250 ± 0.004 s"),
        (Measurement(START, 1.25, 0.0004), "1.250 ± <0.001 s"),
        (Measurement(READY, 0.0, 1.2), "0.000 ± 1.200 s"),
        (Measurement(SCHEDULE, 20.0, 0.004, censored=True), "stuck after 20.00 s"),
        (Measurement(SCHEDULE, 0.5, 0.004, censored=True), "stuck after 500 ms"),
    ],
)
def test_a_measurement_is_shown_with_its_uncertainty(measured: Measurement, expected: str) -> None:
    """A step that did not end has a waiting time instead."""
    assert expected == measured_duration(measured)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-3, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (11100, "3 h 5 min"),
     (86400, "1 d"), (187200, "2 d 4 h")],
)  # fmt: skip
def test_a_duration_has_at_most_two_units(seconds: float, expected: str) -> None:
    """In hours and minutes, for example."""
    assert expected == rounded_duration(seconds)


SECONDS = st.floats(0, 300, allow_subnormal=False)
STRANGE = Step("strange", Component.STORAGE, "")
MEASUREMENTS = st.builds(
    Measurement,
    st.sampled_from((ACCEPT, CREATE, SCHEDULE, SANDBOX, START, READY, STRANGE)),
    SECONDS,
    st.floats(0, 5),
    st.sampled_from(Quality),
    st.booleans(),
)


@given(st.lists(MEASUREMENTS, min_size=1, max_size=8))
def test_the_bar_has_one_segment_for_each_step(measured: list[Measurement]) -> None:
    """For any measurements: segments touch and are visible, and nothing exceeds the bar."""
    page = read("".join(step_charts(replace(WELL, steps=tuple(measured)))))
    rects = [rect.attributes for rect in page.all("svg", class_="bar")[0].all("rect")]
    edges = [(float((r["x"] or "")[:-1]), float((r["x"] or "")[:-1]) + float((r["width"] or "")[:-1])) for r in rects]
    ends = [float((line.attributes[x] or "")[:-1]) for line in page.all("line") for x in ("x1", "x2")]
    gaps = [abs(right - left) for (_, right), (left, _) in itertools.pairwise(edges)]
    assert len(measured) == len(rects)
    assert abs(edges[0][0]) + abs(edges[-1][1] - 100) < 0.05
    assert max(gaps, default=0) < 0.05
    assert min(right - left for left, right in edges) > 0.3
    assert 0 <= min(ends) <= max(ends) <= 100


def test_a_step_is_listed_with_duration_component_and_quality() -> None:
    """The bar chart as text."""
    measured = (Measurement(SCHEDULE, 0.006, 0.002), Measurement(START, 0.5, 0.03, Quality.DEGRADED))
    page = read("".join(step_charts(replace(WELL, steps=measured))))
    (legend,) = page.all("ol", class_="legend")
    expected = [" schedule 6 ± 2 ms scheduler", " start 500 ± 30 ms (degraded) node"]
    assert expected == [entry.text for entry in legend.all("li")]


def test_a_step_that_did_not_end_looks_different() -> None:
    """With stripes and a dashed outline."""
    (_, stuck) = (
        read("".join(step_charts(replace(WELL, steps=(Measurement(SCHEDULE, 20.0, 0.004, censored=censored),)))))
        for censored in (False, True)
    )
    drawn = len(stuck.all("rect", class_="censored")), len(stuck.all("line", class_="stripes"))
    assert (2, 1, True) == (*drawn, "schedule stuck after 20.00 s" in stuck.text)


def test_startup_and_teardown_are_separate_from_the_bar() -> None:
    """`startup` is text, and `delete` has its own bar."""
    last = states.well().last
    assert last
    bars = read("".join(step_charts(last))).all("svg", class_="bar")
    assert [6, 1] == [len(bar.all("rect")) for bar in bars]


def test_only_the_last_attempts_objects_are_listed() -> None:
    """Otherwise the page could have 20,000 rows."""
    story = states.Story(pods=200).then(None, times=3)
    page = shown(story.told())
    listed = [row for table in page.all("table") for row in table.all("tr") if "khealth-rcscheduler" in row.text]
    assert 200 == len(listed)


def test_what_was_injected_into_an_object_is_listed_with_its_quality() -> None:
    """Why a startup does not count."""
    (sample,) = WELL.samples
    slow = (Measurement(START, 9.0, 0.001, Quality.FOREIGN),)
    injected = replace(sample, measurements=slow, injected=("sidecar proxy", "init container istio-init"))
    page = shown(replace(FAILING, attempts=(replace(WELL, samples=(injected,)),)))
    cells = [cell.text for cell in page.all("td")]
    assert "foreign, injected: sidecar proxy, init container istio-init" in cells


def test_each_attempt_in_the_strip_links_to_its_row() -> None:
    """It works without a script."""
    status = states.failing()
    page = shown(status)
    (strip,) = page.all("ol", class_="strip")
    rows = {f"#{row.attributes.get('id')}": row.text for row in page.all("tr")}
    links = [(link.attributes["class"], rows[link.attributes["href"] or ""]) for link in strip.all("a")]
    verdicts = [attempt.verdict.result.value for attempt in status.attempts if attempt.verdict]
    assert verdicts == [kind for kind, _ in links]
    assert all(f"{kind}" in row for kind, row in links)


def test_the_strip_is_one_tab_stop() -> None:
    """At the latest attempt."""
    (strip,) = shown(states.well()).all("ol", class_="strip")
    stops = [link.attributes["tabindex"] for link in strip.all("a")]
    assert ["-1"] * 99 + ["0"] == stops


def test_the_quality_of_all_measurements_is_summed_up() -> None:
    """Over all attempts in the strip."""
    attempt = replace(WELL, qualities=(5, 1, 3, 2, 0))
    page = shown(replace(FAILING, attempts=(attempt, replace(attempt, number=2))))
    expected = "Measurement quality of 22 objects: 10 exact, 2 cold, 6 foreign, 4 degraded, 0 discarded."
    assert expected in [paragraph.text for paragraph in page.all("p")]


LACKING = (*states.LACKING,)


@pytest.mark.parametrize(
    "words",
    [
        "Missing permissions", "khealth may not create replicationcontrollers in namespace khealth", "make the canaries", "required",
        "khealth may not list nodes at the cluster scope", "optional: diagnosis less precise", "14:15 UTC (15 min)",
    ],
)  # fmt: skip
def test_the_page_lists_missing_permissions(words: str) -> None:
    """Each with its importance and purpose."""
    assert words in shown(states.well(), denied=LACKING).text


def test_the_page_has_no_empty_list_of_permissions() -> None:
    """Without missing permissions there is no section."""
    assert "Missing permissions" not in shown(states.well()).text


def test_the_page_shows_versions_and_cluster() -> None:
    """For bug reports."""
    text = shown(states.well()).text
    assert [] == [
        word for word in ("khealth 0.1.0", "Python 3.13.9", "cluster https://10.96.0.1:443") if word not in text
    ]


MANY = (states.failing(), states.well("pool-a"), states.suspended("pool-b"))
EVERYTHING = shown(*MANY, denied=LACKING)


def test_ids_are_unique() -> None:
    """Links, labels, and the script use them."""
    ids = [element.attributes["id"] for element in EVERYTHING.all() if "id" in element.attributes]
    assert len(set(ids)) == len(ids)


def test_every_reference_within_the_page_has_a_target() -> None:
    """Links and labels."""
    ids = {element.attributes.get("id") for element in EVERYTHING.all()}
    links = [(link.attributes["href"] or "") for link in EVERYTHING.all("a")]
    labels = [e.attributes["aria-labelledby"] for e in EVERYTHING.all() if "aria-labelledby" in e.attributes]
    assert [] == [to for to in (*(link[1:] for link in links if link.startswith("#")), *labels) if to not in ids]


def test_headings_skip_no_level() -> None:
    """Screen readers use them for navigation."""
    levels = [int(e.name[1]) for e in EVERYTHING.all() if e.name in {"h1", "h2", "h3", "h4"}]
    assert (1, []) == (levels[0], [pair for pair in itertools.pairwise(levels) if pair[1] > pair[0] + 1])


def test_every_table_header_has_a_scope() -> None:
    """A column, a row, or the rows of a module."""
    assert {"col", "row", "rowgroup"} == {head.attributes.get("scope") for head in EVERYTHING.all("th")}


def test_every_link_is_relative() -> None:
    """So that the page works behind the API server's proxy, and loads nothing from other sites."""
    addresses = [(e.attributes.get("href") or e.attributes.get("src") or "") for e in EVERYTHING.all()]
    assert [] == [address for address in addresses if address.startswith("/") or ":" in address]


@pytest.mark.parametrize("kind", ["style", "script"])
def test_the_policy_allows_exactly_the_pages_own(kind: str) -> None:
    """By its hash."""
    (own,) = EVERYTHING.all(kind)
    digest = base64.b64encode(hashlib.sha256(own.text.encode()).digest()).decode()
    directive = next(d for d in CONTENT_SECURITY_POLICY.split("; ") if d.startswith(f"{kind}-src"))
    assert f"{kind}-src 'sha256-{digest}'" == directive


@pytest.mark.parametrize(
    "directive",
    ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'self'",
     "img-src 'self'", "require-trusted-types-for 'script'", "trusted-types 'none'"],
)  # fmt: skip
def test_the_policy_forbids_everything_else(directive: str) -> None:
    """Frames, forms, other sites, and markup from strings."""
    assert directive in CONTENT_SECURITY_POLICY.split("; ")


def test_the_page_obeys_its_own_policy() -> None:
    """No attribute contains a style or an event handler."""
    names = {name for element in EVERYTHING.all() for name in element.attributes}
    assert set() == {name for name in names if name == "style" or name.startswith("on")}


def test_without_a_script_the_page_reloads_itself() -> None:
    """With a script it never does."""
    refreshing = [(e.name, len(e.all("meta"))) for e in EVERYTHING.all("noscript")]
    everywhere = [e for e in EVERYTHING.all("meta") if e.attributes.get("http-equiv") == "refresh"]
    assert ([("noscript", 1)], 1) == (refreshing, len(everywhere))


def hostile(text: str) -> Element:
    """Return a page with a text in every place that the cluster controls."""
    sample = Sample(text, text, text, (Measurement(Step(text, Component.NODE, text), 0.5, 0.001),), {})
    attempt = replace(
        BROKEN,
        verdict=Verdict(Result.FAILURE, Reason.POD_CRASHED, text),
        samples=(sample,),
        steps=sample.measurements,
        evidence=(Evidence(text, text, (text,)),),
    )
    status = replace(FAILING, attempts=(attempt,), last_failure=replace(attempt, number=1))
    denied = (Denied(text, text, text, 1.0, 1.0, why=text, note=text),)
    return shown(status, denied=denied, about=About(text, text, text, states.NOW))


def shape(page: Element) -> list[tuple[str, tuple[str, ...]]]:
    """Return the names of a page's elements and of their attributes."""
    return [(element.name, tuple(element.attributes)) for element in page.all()]


@given(
    st.text(min_size=1) | st.sampled_from(["<script>", "</pre><b>", "' onload='", '" onclick="', "&lt;", "<!--", "]]>"])
)
def test_text_from_the_cluster_is_escaped(text: str) -> None:
    """Names, notes, evidence, permissions, and addresses create no elements and attributes."""
    assert shape(hostile("x")) == shape(hostile(text))


@given(st.text())
def test_escaped_text_reads_as_written(text: str) -> None:
    """In an element and in an attribute."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    (element,) = read(tag("p", plain, title=plain)).all("p")
    assert (plain, plain) == (element.text, element.attributes["title"])


def test_markup_is_not_escaped_twice() -> None:
    """And absent children and attributes leave no trace."""
    assert "<p hidden><b>a &amp; b</b></p>" == tag("p", tag("b", "a & b"), None, hidden=True, id=None, lang=False)
    assert isinstance(tag("p"), Markup)


def test_the_page_stays_small() -> None:
    """Three routines with a hundred attempts, uncompressed."""
    assert len(status_page((Snapshot("rcscheduler", MANY),), (), states.ABOUT)) < 300_000


def test_the_page_of_many_routines_stays_small_too() -> None:
    """Each section has fewer attempts, and says where the others are."""
    text = status_page(by_module(twenty.twenty()), (), states.ABOUT)
    strips = [len(strip.all("li")) for strip in read(text).all("ol", class_="strip")]
    assert (True, {4, 20}, True) == (len(text) < 350_000, set(strips), "status as JSON</a> has 100." in text)


def test_the_quality_of_no_objects_is_not_told() -> None:
    """A routine without objects has none."""
    assert "Measurement quality" not in shown(replace(FAILING, attempts=(replace(WELL, qualities=(0,) * 5),))).text
