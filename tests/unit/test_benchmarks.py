"""The benchmarks' own sums: what they read from the audit log, and what they make of it."""

import json
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy import Run, milestone_errors
from benchmarks.agents_cost import line
from benchmarks.audit import Interval, Truth, lines, requests, truth, unix
from benchmarks.figures import Goal, conclude, percentile
from benchmarks.harness import configuration
from benchmarks.load import Load
from benchmarks.naive import ATTEMPTS
from benchmarks.overhead import KINDS, Kind
from benchmarks.process import Use, use
from benchmarks.repeated import repeated
from benchmarks.scale import Seen as Scaled
from benchmarks.scale import goals as scale_goals
from benchmarks.scale import slope
from benchmarks.scrape import FRESH, KEPT, Seen, cost, goals, summary
from benchmarks.simulated_agents import results
from khealth_exporter.config import load


def event(  # noqa: PLR0913 - a line of the log has this much
    verb: str,
    resource: str,
    *,
    second: float,
    name: str = "",
    subresource: str = "",
    body: dict[str, Any] | None = None,
    code: int = 200,
    stage: str = "ResponseComplete",
    audit_id: str | None = None,
    agent: str = "khealth/1",
    made: str = "",
) -> dict[str, Any]:
    """Return a line of the audit log; its answer was complete half a second after it was received."""
    about = {"namespace": "bench", "resource": resource, "name": name, "subresource": subresource}
    return {
        "auditID": audit_id or f"{verb}-{resource}-{subresource}-{second}",
        "stage": stage,
        "verb": verb,
        "userAgent": agent,
        "objectRef": {key: value for key, value in about.items() if value},
        "requestObject": body,
        "responseObject": {"metadata": {"name": made}} if made else {},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": f"2026-11-23T12:00:{second:09.6f}Z",
        "stageTimestamp": f"2026-11-23T12:00:{second + 0.5:09.6f}Z",
    }


def at(second: float, cause: str) -> Interval:
    """Return the interval of an event."""
    begin = unix("2026-11-23T12:00:00Z")
    return Interval(begin + second, begin + second + 0.5, cause)


def patch(second: float, **status: object) -> dict[str, Any]:
    """Return a kubelet's patch of the status of the pod p."""
    return event("patch", "pods", second=second, name="p", subresource="status", body={"status": status})


READY = {"conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [{"state": {"running": {}}}]}


class TestTruth:
    def test_a_pod_is_created_under_the_name_that_the_answer_gives_it(self) -> None:
        told = truth([event("create", "pods", second=1, made="p", code=201)], "bench")
        assert told.pods == {"p": {"created": at(1, "create-pods--1")}}

    def test_a_binding_schedules(self) -> None:
        told = truth([event("create", "pods", second=2, name="p", subresource="binding", code=201)], "bench")
        assert told.pods["p"].keys() == {"scheduled"}

    def test_the_first_patch_that_shows_a_milestone_counts(self) -> None:
        sandbox = {"conditions": [{"type": "PodReadyToStartContainers", "status": "True"}]}
        told = truth([patch(3, **sandbox), patch(4, **READY), patch(5, **READY)], "bench")
        assert told.pods["p"] == {
            "sandboxed": at(3, "patch-pods-status-3"),
            "started": at(4, "patch-pods-status-4"),
            "ready": at(4, "patch-pods-status-4"),
        }

    def test_a_condition_that_does_not_hold_is_no_milestone(self) -> None:
        told = truth([patch(3, conditions=[{"type": "Ready", "status": "False"}, {"type": "Initialized"}])], "bench")
        assert dict(told.pods) == {}

    def test_a_pod_has_not_started_while_one_container_waits(self) -> None:
        waiting: list[object] = [{"state": {"running": {}}}, {"state": {"waiting": {}}}]
        assert dict(truth([patch(3, containerStatuses=waiting)], "bench").pods) == {}

    def test_only_a_delete_with_grace_0_removes(self) -> None:
        asked = event("delete", "pods", second=5, name="p", body={"propagationPolicy": "Background"})
        done = event("delete", "pods", second=6, name="p", body={"gracePeriodSeconds": 0})
        assert truth([asked, done], "bench").pods == {"p": {"deleted": at(6, "delete-pods--6")}}

    def test_what_was_refused_did_not_happen(self) -> None:
        refused = event("create", "replicationcontrollers", second=1, name="c", code=404)
        assert truth([refused], "bench").accepted == {}

    def test_a_controller_is_asked_to_go_when_the_request_is_received(self) -> None:
        told = truth([event("delete", "replicationcontrollers", second=7, name="c")], "bench")
        assert told.asked_to_go == {"c": Interval(at(7, "").low, at(7, "").low)}

    def test_another_namespace_is_not_looked_at(self) -> None:
        assert dict(truth([event("create", "pods", second=1, made="p")], "other").pods) == {}


class TestInterval:
    def test_a_duration_lies_between_the_nearest_and_the_farthest_ends(self) -> None:
        assert Interval(1, 2, "a").until(Interval(5, 7, "b")) == Interval(3, 6)

    def test_two_milestones_of_one_request_are_no_time_apart(self) -> None:
        assert Interval(1, 2, "a").until(Interval(1, 2, "a")) == Interval(0, 0)

    @pytest.mark.parametrize(("value", "error"), [(3, 0), (6, 0), (2.5, -0.5), (7, 1)])
    def test_an_error_is_the_distance_to_the_interval(self, value: float, error: float) -> None:
        assert Interval(3, 6).error(value) == error


class TestRequests:
    def test_a_watch_counts_once_though_it_has_two_lines(self) -> None:
        begun = event("watch", "pods", second=1, stage="ResponseStarted", audit_id="w")
        ended = event("watch", "pods", second=9, audit_id="w")
        assert requests([begun, ended], "khealth/") == Counter({("watch", "pods"): 1})

    def test_a_refused_request_was_a_request(self) -> None:
        assert requests([event("create", "pods", second=1, code=403)], "khealth/") == Counter({("create", "pods"): 1})

    def test_other_clients_are_not_counted(self) -> None:
        assert requests([event("list", "pods", second=1, agent="kubectl/1")], "khealth/") == Counter()


class TestLines:
    def test_only_lines_from_the_offset_on_that_hold_the_text_are_read(self, tmp_path: Path) -> None:
        log = tmp_path / "audit.jsonl"
        early, late, other = ({"n": number, "ns": ns} for number, ns in ((1, "bench"), (2, "bench"), (3, "other")))
        log.write_text("".join(json.dumps(line) + "\n" for line in (early, late, other)))
        start = len(json.dumps(early)) + 1
        assert list(lines(log, start, "bench")) == [late]

    def test_a_line_that_is_still_being_written_is_left_out(self, tmp_path: Path) -> None:
        log = tmp_path / "audit.jsonl"
        log.write_text('{"ns": "bench"}\n{"ns": "bench", ')
        assert list(lines(log, 0, "bench")) == [{"ns": "bench"}]


class TestFigures:
    @pytest.mark.parametrize(("share", "expected"), [(0, 1), (0.5, 2.5), (1, 4), (0.25, 1.75)])
    def test_a_percentile_is_interpolated(self, share: float, expected: float) -> None:
        assert percentile([4, 1, 3, 2], share) == expected

    @pytest.mark.parametrize(
        ("goal", "met"),
        [
            (Goal("g", 1.0, 1.0), True),
            (Goal("g", 1.1, 1.0), False),
            (Goal("g", 1.0, 1.0, at_least=True), True),
            (Goal("g", 0.9, 1.0, at_least=True), False),
            (Goal("g", float("nan"), 1.0), False),
        ],
    )
    def test_a_goal_is_met_at_its_bound(self, goal: Goal, met: bool) -> None:
        assert goal.met is met

    @pytest.mark.parametrize(("insist", "code"), [(True, 1), (False, 0)])
    def test_a_missed_goal_fails_only_who_insists(
        self, insist: bool, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("benchmarks.figures.OUT", tmp_path / "out")
        assert conclude("name", {}, [Goal("g", 2.0, 1.0)], insist=insist) == code


SEEN = {
    0: Seen({KEPT: [0.001, 0.003], FRESH: [0.004]}, [50.0, 60.0]),
    200: Seen({KEPT: [0.002, 0.006], FRESH: [0.008]}, [55.0, 62.5]),
}


class TestScrape:
    def test_latencies_stand_beside_each_other(self) -> None:
        """Each figure has what it was with none open, with all open, and the ratio of the two."""
        expected = {"none open": 2.0, "idle open": 4.0, "ratio": 2.0}
        assert expected == pytest.approx(summary(SEEN)[f"{KEPT}, p50, ms"])

    def test_memory_of_none_is_what_it_was_before_the_first(self) -> None:
        """What is not given back must not hide what the connections took."""
        expected = {"none open": 50.0, "idle open": 62.5, "ratio": 1.25}
        assert expected == summary(SEEN)["resident memory, MiB"]

    def test_goals_are_ratios_and_a_connections_memory(self) -> None:
        """No absolute time is one."""
        reached = goals(summary(SEEN), 200)
        assert [2.0, 2.0, 64.0] == pytest.approx([goal.figure for goal in reached])
        assert [False, False, True] == [goal.met for goal in reached]

    def test_a_handshakes_cost_is_its_share(self) -> None:
        """In milliseconds of processor time."""
        assert 2.0 == pytest.approx(cost(Use(1.0, 0, 0), Use(1.4, 0, 0), 200))


class TestRepeated:
    """Several runs of one measurement."""

    @pytest.mark.parametrize(("at_least", "worst"), [(False, 3.0), (True, 1.0)])
    def test_a_goal_is_judged_by_its_worst_run(
        self, capsys: pytest.CaptureFixture[str], *, at_least: bool, worst: float
    ) -> None:
        """And the runs are printed with their spread, and each with its load."""
        found = iter((1.0, 3.0, 2.0))

        def measure() -> tuple[dict[str, Any], list[Goal]]:
            return {"mine": 1}, [Goal("goal", next(found), 2.0, at_least=at_least)]

        figures, goals = repeated(measure, 3)
        assert [Goal("goal", worst, 2.0, at_least=at_least)] == goals
        assert [1, 1, 1] == [run["mine"] for run in figures["runs"]]
        assert all(run["load"]["lowest"] <= run["load"]["highest"] for run in figures["runs"])
        assert "| goal | 1.000 | 3.000 | 2.000 |  2.000 |" in capsys.readouterr().out

    def test_a_run_without_a_figure_spoils_the_goal(self) -> None:
        """Nobody knows what it would have been."""
        found = iter((1.0, float("nan")))
        _, (goal,) = repeated(lambda: ({}, [Goal("goal", next(found), 2.0)]), 2)
        assert not goal.met

    def test_the_load_is_seen_throughout(self) -> None:
        """Though nothing else asks for it."""
        with Load() as load:
            pass
        figures = load.figures()
        assert figures["lowest"] <= figures["median"] <= figures["highest"]


class TestMilestones:
    """How late a milestone was seen."""

    def test_only_pods_that_all_have_seen_are_compared(self) -> None:
        """By the distance to the interval in which it happened."""
        told = Truth()
        for pod in ("a", "b"):
            told.pods[pod]["created"] = Interval(10.0, 11.0)
        seen = {pod: {"observed": {"created": 11.25}} for pod in ("a", "b", "c")}
        run = Run(seen, ({"a": {"created": 11.5}, "b": {"created": 9.0}}, {"a": {"created": 10.5}}), told)
        assert ([0.25], [0.5, 0.0]) == milestone_errors(run, "created")


def test_each_kind_has_a_naive_script_beside_it() -> None:
    """Otherwise its cost has no reference."""
    assert KINDS.keys() == ATTEMPTS.keys()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_khealth_accepts_what_overhead_configures(kind: Kind, tmp_path: Path) -> None:
    """A setting that one kind has is refused for another."""
    settings = {"a": {**kind.settings, "interval": "18s"}}
    loaded = load(configuration(tmp_path / "khealth.yaml", "bench", settings, kind.name))
    assert [("a", kind.name)] == [
        (routine.label, routine.kind.name) for routine in loaded.routines if routine.label == "a"
    ]


def test_processor_time_is_of_all_threads_to_the_nanosecond() -> None:
    """Of those that have ended too."""
    before = use(os.getpid()).cpu
    began = time.process_time()
    thread = threading.Thread(target=lambda: sum(range(100_000)))
    thread.start()
    thread.join()
    spent = time.process_time() - began
    assert use(os.getpid()).cpu - before >= spent > 0


class TestScale:
    """What more pods cost."""

    @staticmethod
    def seen(pods: int, line_ms: float) -> Scaled:
        """Return an attempt in which all went well."""
        return Scaled(pods, 1, pods, 7 * pods, 0, 0, 8 * pods, line_ms, 80.0, 0)

    @pytest.mark.parametrize(("costs", "growth"), [((0.5, 0.5, 0.5), 0.0), ((0.5, 1.0, 1.5), 1.0)])
    def test_growth_is_the_slope_of_a_straight_line(self, costs: tuple[float, ...], growth: float) -> None:
        """To the mean, for 1,000 pods more."""
        seen = [self.seen(pods, ms) for pods, ms in zip((500, 1000, 1500), costs, strict=True)]
        assert growth == pytest.approx(slope(seen))

    def test_what_went_well_meets_the_goals(self) -> None:
        """All of them."""
        assert all(goal.met for goal in scale_goals([self.seen(50, 0.5), self.seen(1000, 0.5)], 1))

    def test_one_number_of_pods_shows_no_growth(self) -> None:
        """There is nothing to fit."""
        assert 4 == len(scale_goals([self.seen(50, 0.5)], 1))


def test_a_line_is_drawn_through_the_costs_of_agents() -> None:
    """Slope, constant, and how much of the cost they explain."""
    rows = [{"agents": number, "cpu_ms": 2.0 * number + 5.0} for number in (2, 10, 50)]
    assert (2.0, 5.0, 1.0) == pytest.approx(line(rows, "cpu_ms"))


def test_simulated_agents_answer_each_probe_in_the_buckets_of_the_question() -> None:
    """As real ones do: the exporter must not be spared any work."""
    probes = [{"id": str(number), "count": 5} for number in range(3)]
    found = results({"probes": probes, "edges": [0.001, 1.0]}, random.Random(1))["results"]
    assert [("0", 5), ("1", 5), ("2", 5)] == [(one["id"], sum(one["counts"])) for one in found]
    assert {3} == {len(one["counts"]) for one in found}
