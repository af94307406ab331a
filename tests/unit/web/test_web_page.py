"""What the status page says, and that nothing which the cluster says can break it."""

import base64
import hashlib
import itertools
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest
import states
from hypothesis import given
from hypothesis import strategies as st
from serving import BROKEN, FAILING, WELL

from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, READY, SANDBOX, SCHEDULE, START
from khealth_exporter.core.snapshot import About, Attempt, RoutineStatus, Snapshot, State
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Phase
from khealth_exporter.vocabulary.permission import Denied
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

VOID = {"meta", "link"}


@dataclass
class Element:
    """One element, with what it holds."""

    name: str
    attributes: dict[str, str | None]
    children: "list[Element | str]" = field(default_factory=list)

    def all(self, name: str = "", **wanted: str) -> "list[Element]":
        """Return the elements below it in order, of a name and with attributes; class_ is one of several."""
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
    """Reads a document into elements."""

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
    """Return a document's root; AssertionError where an element is not closed."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert 1 == len(reader.open)
    return reader.open[0]


def shown(*statuses: RoutineStatus, denied: tuple[Denied, ...] = (), about: About = states.ABOUT) -> Element:
    """Return the page of some routines."""
    return read(status_page((Snapshot("rcscheduler", statuses),) if statuses else (), denied, about))


def facts(status: RoutineStatus) -> dict[str, str]:
    """Return what is told of a routine in pairs."""
    (block,) = shown(status).all("dl", class_="facts")
    return dict(zip((e.text for e in block.all("dt")), (e.text for e in block.all("dd")), strict=True))


def test_every_reason_has_its_sentences() -> None:
    """Nobody has to know a reason's word to understand what happened."""
    assert set(Reason) == set(REASON_TEXTS)


@pytest.mark.parametrize("reason", REASON_TEXTS)
def test_a_reasons_sentences_can_be_set_as_they_are(reason: Reason) -> None:
    """One is followed by since when, the other stands alone; no two reasons say the same."""
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
        ((some(State.FAILING, consecutive_failures=2),), "✗Attempts fail: since 14:18 UTC (12 min), 2 consecutive failures."),
    ],
)  # fmt: skip
def test_one_sentence_says_what_everything_comes_to(statuses: tuple[RoutineStatus, ...], expected: str) -> None:
    """What is broken, since when, how often; or that all is well, or that it cannot be told, and why."""
    assert [expected] == [heading.text for heading in shown(*statuses).all("h1")]


def test_what_else_is_broken_is_said_beside_it() -> None:
    """The oldest trouble comes first, others of another kind follow."""
    younger = replace(failed(Reason.DNS_FAILED, 2, "b"), since=states.NOW - 60)
    (header,) = shown(younger, failed(Reason.POD_NOT_SCHEDULED, 11)).all("header")
    said = [element.text for element in header.all() if element.name in {"h1", "p"}]
    assert "Also: DNS does not answer: since 14:29 UTC (1 min), 2 consecutive failures." in said


def test_what_rests_beside_the_others_is_named() -> None:
    """All is well says nothing of it."""
    (header,) = shown(some(State.WELL), some(State.SUSPENDED, "b")).all("header")
    assert "Suspended (state unknown): b." in [element.text for element in header.all("p")]


def test_the_title_tells_the_state() -> None:
    """It can be read in a tab."""
    assert ["✗ failing: The scheduler does not bind pods · khealth"] == [
        title.text for title in shown(states.failing()).all("title")
    ]


@pytest.mark.parametrize("state", list(State))
def test_the_page_names_its_states_picture(state: State) -> None:
    """Without a leading slash: it is below wherever the page is."""
    assert f"favicon/{state}.svg" in [link.attributes["href"] for link in shown(some(state)).all("link")]


def test_the_pictures_of_good_bad_and_unknown_differ() -> None:
    """In shape too: colours alone would not do."""
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
def test_a_routine_is_told_in_facts(word: str, value: str) -> None:
    """Times are absolute, with how long ago beside them."""
    assert value == facts(states.failing())[word][: len(value)]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (states.waiting(), "due now"),
        (states.suspended(), "none while suspended"),
        (
            replace(states.waiting(), attempts=(Attempt(1, states.NOW - 5, Phase.INIT),)),
            "running (poll), started 2026-11-23 14:29:55 UTC",
        ),
    ],
)
def test_the_next_attempt_is_told_as_far_as_it_is_known(status: RoutineStatus, expected: str) -> None:
    """It runs, it will not come, or nobody knows."""
    assert expected == facts(status)["Next attempt"]


def test_before_the_first_attempt_there_is_a_page_all_the_same() -> None:
    """It says that there is nothing yet."""
    told = facts(states.waiting())
    assert ("none yet", "none yet") == (told["Last attempt"], told["Last success"])


def test_why_it_failed_is_a_sentence_with_note_evidence_and_runbook() -> None:
    """All that is needed at three in the morning is in one place."""
    (why,) = shown(states.failing()).all("div", class_="why")
    said = why.text
    words = (
        "The scheduler did not bind the pod. pod_not_scheduled (scheduler)",
        "the scheduler has said nothing of it",
        "phase Pending on no node",
    )
    links = [link.attributes["href"] for link in why.all("a")]
    assert ([], ["runbook#pod_not_scheduled"]) == ([word for word in words if word not in said], links)


def test_a_failure_that_is_over_is_folded_away() -> None:
    """It is still there for who looks for it."""
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
def test_a_figure_has_its_error_bar(measured: Measurement, expected: str) -> None:
    """No figure without how sure it is; what did not end has none."""
    assert expected == measured_duration(measured)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-3, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (11100, "3 h 5 min"),
     (86400, "1 d"), (187200, "2 d 4 h")],
)  # fmt: skip
def test_how_long_is_told_in_two_units_at_most(seconds: float, expected: str) -> None:
    """As one would say it."""
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
def test_the_bar_has_one_segment_for_each_step_from_end_to_end(measured: list[Measurement]) -> None:
    """Whatever was measured: they touch, none is too small to be seen, none sticks out, and neither does an error bar."""
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


def test_a_step_is_told_with_figure_component_and_quality() -> None:
    """The bar is a picture; this is the same in words."""
    measured = (Measurement(SCHEDULE, 0.006, 0.002), Measurement(START, 0.5, 0.03, Quality.DEGRADED))
    page = read("".join(step_charts(replace(WELL, steps=measured))))
    (legend,) = page.all("ol", class_="legend")
    expected = [" schedule 6 ± 2 ms scheduler", " start 500 ± 30 ms (degraded) node"]
    assert expected == [entry.text for entry in legend.all("li")]


def test_a_step_that_did_not_end_is_drawn_otherwise() -> None:
    """Stripes and a broken outline: it is no duration."""
    (_, stuck) = (
        read("".join(step_charts(replace(WELL, steps=(Measurement(SCHEDULE, 20.0, 0.004, censored=censored),)))))
        for censored in (False, True)
    )
    drawn = len(stuck.all("rect", class_="censored")), len(stuck.all("line", class_="stripes"))
    assert (2, 1, True) == (*drawn, "schedule stuck after 20.00 s" in stuck.text)


def test_the_sum_is_no_part_of_the_bar() -> None:
    """`startup` is told beside it, `delete` has a bar of its own."""
    last = states.well().last
    assert last
    bars = read("".join(step_charts(last))).all("svg", class_="bar")
    assert [6, 1] == [len(bar.all("rect")) for bar in bars]


def test_only_the_last_attempts_objects_are_listed() -> None:
    """Two hundred pods in a hundred attempts are more than anyone looks at."""
    story = states.Story(pods=200).then(None, times=3)
    page = shown(story.told())
    listed = [row for table in page.all("table") for row in table.all("tr") if "khealth-rcscheduler" in row.text]
    assert 200 == len(listed)


def test_each_attempt_of_the_strip_leads_to_its_row() -> None:
    """With a script or without one, nothing is lost."""
    status = states.failing()
    page = shown(status)
    (strip,) = page.all("ol", class_="strip")
    rows = {f"#{row.attributes.get('id')}": row.text for row in page.all("tr")}
    links = [(link.attributes["class"], rows[link.attributes["href"] or ""]) for link in strip.all("a")]
    verdicts = [attempt.verdict.result.value for attempt in status.attempts if attempt.verdict]
    assert verdicts == [kind for kind, _ in links]
    assert all(f"{kind}" in row for kind, row in links)


def test_the_strip_is_one_stop_of_the_tab_key() -> None:
    """The latest attempt is where it leads to."""
    (strip,) = shown(states.well()).all("ol", class_="strip")
    stops = [link.attributes["tabindex"] for link in strip.all("a")]
    assert ["-1"] * 99 + ["0"] == stops


def test_the_quality_of_the_figures_is_summed_up() -> None:
    """How far they can be trusted, over the strip."""
    attempt = replace(WELL, qualities=(5, 1, 2, 0))
    page = shown(replace(FAILING, attempts=(attempt, replace(attempt, number=2))))
    expected = "Measurement quality of 16 objects: 10 exact, 2 cold, 4 degraded, 0 discarded."
    assert expected in [paragraph.text for paragraph in page.all("p")]


LACKING = (*states.LACKING,)


@pytest.mark.parametrize(
    "words",
    [
        "Missing permissions", "khealth may not create replicationcontrollers in namespace khealth", "make the canaries", "required",
        "khealth may not list nodes at the cluster scope", "optional: diagnosis less precise", "14:15 UTC (15 min)",
    ],
)  # fmt: skip
def test_the_page_tells_what_khealth_may_not_do(words: str) -> None:
    """Which right, how much it matters, and what it is for."""
    assert words in shown(states.well(), denied=LACKING).text


def test_the_page_says_nothing_of_rights_that_are_there() -> None:
    """No section without anything in it."""
    assert "Missing permissions" not in shown(states.well()).text


def test_the_page_tells_who_looks_at_what() -> None:
    """Versions and the cluster's address, for who reports a fault."""
    text = shown(states.well()).text
    assert [] == [
        word for word in ("khealth 0.1.0", "Python 3.13.9", "cluster https://10.96.0.1:443") if word not in text
    ]


MANY = (states.failing(), states.well("pool-a"), states.suspended("pool-b"))
EVERYTHING = shown(*MANY, denied=LACKING)


def test_no_two_elements_have_one_id() -> None:
    """Links, labels and the script find what they mean."""
    ids = [element.attributes["id"] for element in EVERYTHING.all() if "id" in element.attributes]
    assert len(set(ids)) == len(ids)


def test_every_reference_within_the_page_leads_somewhere() -> None:
    """Links and labels."""
    ids = {element.attributes.get("id") for element in EVERYTHING.all()}
    links = [(link.attributes["href"] or "") for link in EVERYTHING.all("a")]
    labels = [e.attributes["aria-labelledby"] for e in EVERYTHING.all() if "aria-labelledby" in e.attributes]
    assert [] == [to for to in (*(link[1:] for link in links if link.startswith("#")), *labels) if to not in ids]


def test_headings_leave_no_level_out() -> None:
    """Who hears the page goes through it by them."""
    levels = [int(e.name[1]) for e in EVERYTHING.all() if e.name in {"h1", "h2", "h3", "h4"}]
    assert (1, []) == (levels[0], [pair for pair in itertools.pairwise(levels) if pair[1] > pair[0] + 1])


def test_every_header_of_a_table_says_what_it_heads() -> None:
    """A column or a row."""
    assert {"col", "row"} == {head.attributes.get("scope") for head in EVERYTHING.all("th")}


def test_every_address_is_below_the_page() -> None:
    """So that it works behind the API server's proxy; and nothing is fetched from elsewhere."""
    addresses = [(e.attributes.get("href") or e.attributes.get("src") or "") for e in EVERYTHING.all()]
    assert [] == [address for address in addresses if address.startswith("/") or ":" in address]


@pytest.mark.parametrize("kind", ["style", "script"])
def test_the_policy_allows_exactly_the_pages_own(kind: str) -> None:
    """By its hash: whatever else gets into the page neither runs nor shows."""
    (own,) = EVERYTHING.all(kind)
    digest = base64.b64encode(hashlib.sha256(own.text.encode()).digest()).decode()
    directive = next(d for d in CONTENT_SECURITY_POLICY.split("; ") if d.startswith(f"{kind}-src"))
    assert f"{kind}-src 'sha256-{digest}'" == directive


@pytest.mark.parametrize(
    "directive",
    ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'self'",
     "img-src 'self'", "require-trusted-types-for 'script'", "trusted-types 'none'"],
)  # fmt: skip
def test_the_policy_forbids_all_else(directive: str) -> None:
    """Frames, forms, other sites, markup from strings."""
    assert directive in CONTENT_SECURITY_POLICY.split("; ")


def test_nothing_on_the_page_would_be_refused_by_the_policy() -> None:
    """No style and no handler stands in an attribute."""
    names = {name for element in EVERYTHING.all() for name in element.attributes}
    assert set() == {name for name in names if name == "style" or name.startswith("on")}


def test_without_a_script_the_page_loads_itself_anew() -> None:
    """And with one it never does."""
    refreshing = [(e.name, len(e.all("meta"))) for e in EVERYTHING.all("noscript")]
    everywhere = [e for e in EVERYTHING.all("meta") if e.attributes.get("http-equiv") == "refresh"]
    assert ([("noscript", 1)], 1) == (refreshing, len(everywhere))


def hostile(text: str) -> Element:
    """Return a page on which everything that somebody else may choose is a text."""
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
def test_what_others_say_is_text(text: str) -> None:
    """Names, notes, evidence, rights and addresses make no element and no attribute, whatever they hold."""
    assert shape(hostile("x")) == shape(hostile(text))


@given(st.text())
def test_text_is_read_as_it_was_written(text: str) -> None:
    """In an element and in an attribute."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    (element,) = read(tag("p", plain, title=plain)).all("p")
    assert (plain, plain) == (element.text, element.attributes["title"])


def test_markup_is_not_escaped_twice() -> None:
    """What was made here is put in as it is; what is absent leaves no trace."""
    assert "<p hidden><b>a &amp; b</b></p>" == tag("p", tag("b", "a & b"), None, hidden=True, id=None, lang=False)
    assert isinstance(tag("p"), Markup)


def test_the_page_stays_small() -> None:
    """Three routines of a hundred attempts, before they are compressed."""
    assert len(status_page((Snapshot("rcscheduler", MANY),), (), states.ABOUT)) < 400_000
