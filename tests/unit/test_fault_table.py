"""The fault table's own sums, and what the soak, the kills and the sets make of what they see."""

import base64
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import everything, fault_page, faults, kills, sets, soak, webhooks
from benchmarks.everything import PACES, attempts_an_hour, document, routines, writable, write
from benchmarks.fault_rows import NOBODY, ROWS, Row
from benchmarks.kit import Kit
from benchmarks.outcome import Notice, Outcome, goals, judged, late, notices, right, wrong
from benchmarks.pager import Told, addressed, listening
from benchmarks.process import Use
from benchmarks.verdicts import INCONCLUSIVE, Log, Seen, Verdict, under_way, verdicts
from khealth_exporter.config import load
from khealth_exporter.modules import MODULES
from khealth_exporter.vocabulary.component import Component

ALERTS = Path(__file__).parents[2] / "alerts"
POD = "workloads/pod"
ASKED = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u"}}
ABOUT = {
    "version": "1",
    "kubernetes": "v1",
    "nodes": 2,
    "factor": 3.0,
    "longest": 60,
    "most": 25,
}
UNDER_WAY = {"result": None, "phase": "poll", "started_at": "2026-12-01T10:00:30.000000Z"}
FAILED = {
    "result": "failure",
    "reason": "pod_lost",
    "component": "node",
    "note": "n",
    "phase": None,
    "started_at": "2026-12-01T10:00:00.500000Z",
}
STATUS = {
    "modules": [{"module": "workloads", "routines": [{"routine": "pod", "attempts": [UNDER_WAY, FAILED]}]}],
}


@contextmanager
def nothing(_: object) -> Iterator[None]:
    yield


def row(component: str = "scheduler", page: str = "KhealthSchedulerBroken") -> Row:
    return Row("asleep", "the scheduler asleep", nothing, component, page)


def notice(said: str = "scheduler", seconds: float = 5.0, routine: str = POD) -> Notice:
    return Notice(routine, said, "pod_not_scheduled", seconds, "")


def outcome(*told: Notice, pages: tuple[str, ...] = ("KhealthSchedulerBroken",), well: float | None = 9.0) -> Outcome:
    made = Outcome("asleep", "2026-12-01T10:00:00+00:00", list(told), ["control-plane/api"], [], list(pages), 12.0)
    made.well_seconds = well
    return made


def met(given: Row, found: Outcome) -> bool:
    return all(goal.met for goal in goals(given, found))


class TestRows:
    def test_there_are_more_than_sixteen_and_each_has_a_name_of_its_own(self) -> None:
        assert len({known.name for known in ROWS}) == len(ROWS) >= 16

    def test_each_blames_a_component_or_none(self) -> None:
        assert {known.component for known in ROWS} <= {*map(str, Component), INCONCLUSIVE, NOBODY}

    def test_each_page_is_a_shipped_alert_that_pages(self) -> None:
        texts = [yaml.safe_load(path.read_text()) for path in ALERTS.glob("*.rules.yaml")]
        rules = [rule for text in texts for group in text["groups"] for rule in group["rules"]]
        pages = {rule["alert"] for rule in rules if rule.get("labels", {}).get("severity") == "critical"}
        assert {known.page for known in ROWS if known.page} <= pages

    def test_nobody_is_woken_by_what_is_inconclusive(self) -> None:
        assert not [known.name for known in ROWS if known.component in {INCONCLUSIVE, NOBODY} and known.page]


class TestOutcome:
    def test_the_first_notice_of_each_routine_with_each_reason_is_kept(self) -> None:
        failed = Verdict(POD, 1.0, "failure", "pod_not_scheduled", "scheduler")
        again = Verdict(POD, 16.0, "failure", "pod_not_scheduled", "scheduler")
        other = Verdict(POD, 31.0, "inconclusive", "throttled", "api_server")
        seen = [Seen(failed, 107.0), Seen(again, 122.0), Seen(other, 137.0)]
        assert [(one.said, one.seconds) for one in notices(seen, 100.0)] == [("scheduler", 7.0), (INCONCLUSIVE, 37.0)]

    def test_a_success_is_no_notice(self) -> None:
        assert list(notices([Seen(Verdict(POD, 1.0, "success"), 2.0)], 0.0)) == []

    def test_a_routine_that_began_nothing_while_it_was_broken_is_not_unaware(self) -> None:
        found = outcome()
        seen = [Seen(Verdict(POD, 110.0, "success"), 112.0), Seen(Verdict("storage/config", 130.0, "success"), 140.0)]
        judged(found, seen, 100.0, 120.0)
        assert (found.unaware, "storage/config" in found.silent) == ([POD], "storage/config" in routines())

    def test_who_blames_another_component_is_wrong(self) -> None:
        found = outcome(notice(), notice("node"), notice(INCONCLUSIVE))
        assert [one.said for one in wrong(row(), found)] == ["node"]

    def test_who_does_not_know_is_not_right_either(self) -> None:
        assert right(row(), outcome(notice(INCONCLUSIVE))) == []

    def test_where_it_should_be_inconclusive_every_blame_is_wrong(self) -> None:
        found = outcome(notice(INCONCLUSIVE), notice("scheduler"), pages=())
        assert [one.said for one in wrong(row(INCONCLUSIVE, ""), found)] == ["scheduler"]

    def test_a_notice_is_in_time_within_its_routines_interval_and_timeout(self) -> None:
        pace = PACES["pod"]
        assert late(row(), outcome(notice(seconds=pace.interval + pace.timeout))) <= 0

    def test_a_notice_after_that_is_late(self) -> None:
        pace = PACES["pod"]
        assert late(row(), outcome(notice(seconds=pace.interval + pace.timeout + 3))) > 0

    def test_all_goals_are_met(self) -> None:
        assert met(row(), outcome(notice()))

    @pytest.mark.parametrize(
        "found",
        [
            pytest.param(outcome(), id="unnoticed"),
            pytest.param(outcome(notice(), notice("node")), id="another-blamed"),
            pytest.param(outcome(notice(), pages=()), id="no-page"),
            pytest.param(outcome(notice(), pages=("KhealthSchedulerBroken", "KhealthNodesBroken")), id="two-pages"),
            pytest.param(outcome(notice(), well=None), id="not-well-again"),
        ],
    )
    def test_a_goal_is_missed(self, found: Outcome) -> None:
        assert not met(row(), found)

    def test_a_row_that_could_not_be_measured_misses_a_goal(self) -> None:
        found = outcome(notice())
        found.error = "TimeoutError"
        assert not met(row(), found)

    def test_a_file_holds_all_of_it(self) -> None:
        found = outcome(notice())
        assert Outcome.of(json.loads(json.dumps(found.document()))) == found


class TestPage:
    def test_a_row_has_its_first_right_notice_and_its_page(self) -> None:
        text = fault_page.page([row()], {"asleep": outcome(notice(INCONCLUSIVE, 3.0), notice())}, ABOUT)
        expected = "| [the scheduler asleep](#asleep) | `scheduler` | 5 s | 1 of 2 routines | none "
        assert f"{expected}| `KhealthSchedulerBroken` after 12 s | yes |" in text

    def test_who_blames_another_component_is_named(self) -> None:
        text = fault_page.page([row()], {"asleep": outcome(notice("node"))}, ABOUT)
        assert f"| none | 1 of 2 routines | `{POD}` |" in text

    def test_what_was_not_measured_is_named(self) -> None:
        other = Row("other", "something else", nothing, "node")
        assert "Not measured: `other`." in fault_page.page([row(), other], {"asleep": outcome(notice())}, ABOUT)


class TestVerdicts:
    def test_an_attempt_without_a_verdict_is_left_out(self) -> None:
        (found,) = verdicts(STATUS)
        assert (found.routine, found.said, found.reason) == (POD, "node", "pod_lost")

    def test_its_beginning_is_in_unix_seconds(self) -> None:
        (found,) = verdicts(STATUS)
        assert found.began == 1796119200.5

    def test_an_attempt_under_way_is_known_by_its_beginning(self) -> None:
        assert list(under_way(STATUS)) == [(POD, 1796119230.0)]

    def test_a_khealth_that_does_not_answer_says_nothing(self) -> None:
        log = Log("http://127.0.0.1:1")
        log.look()
        assert (log.since(0), log.well(0)) == ([], False)


class TestEverything:
    def test_khealth_runs_every_routine_with_it(self, tmp_path: Path) -> None:
        loaded = load(write(tmp_path / "khealth.yaml", document("bench", "image")))
        assert {f"{one.module}/{one.label}" for one in loaded.routines} == set(routines())

    def test_every_kind_has_a_pace(self) -> None:
        assert {kind.name for module in MODULES for kind in module.routines} <= PACES.keys()

    def test_it_makes_enough_attempts_for_the_soak(self) -> None:
        """With a tenth to spare, where every routine exists."""
        assert sum(3600 / pace.interval for pace in PACES.values()) > 1.1 * soak.AN_HOUR

    def test_a_change_is_of_one_kind(self) -> None:
        plain, changed = document("n", "i"), document("n", "i", changed={"pod": {"timeout": "1s"}})
        assert changed["modules"]["workloads"]["pod"] == {**plain["modules"]["workloads"]["pod"], "timeout": "1s"}

    def test_a_volume_that_comes_later_can_be_written(self, tmp_path: Path) -> None:
        with writable(tmp_path):
            volume = tmp_path / "volume"
            volume.mkdir(mode=0o700)
            deadline = threading.Event()
            for _ in range(100):
                if volume.stat().st_mode & 0o777 == 0o777:
                    break
                deadline.wait(0.05)
        assert volume.stat().st_mode & 0o777 == 0o777

    def test_routines_that_are_added_run_by_their_own_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(everything, "PACES", {})
        kind = next(kind for module in MODULES for kind in module.routines)
        assert everything.pace(kind.name).interval == kind.Settings().interval

    def test_an_hour_has_as_many_attempts_as_the_intervals_say(self) -> None:
        names = [name.rpartition("/")[2] for name in routines()]
        assert attempts_an_hour() == sum(3600 / PACES[name].interval for name in names)


class TestSoak:
    def counted(self, *more: Verdict) -> soak.Counted:
        well = [Verdict(name, float(n), "success") for name in routines() for n in range(400)]
        return soak.counted([*well, *more])

    def met(self, counts: soak.Counted, *, loaded: bool = False) -> bool:
        return all(goal.met for goal in soak.goals(counts, 3600, loaded=loaded))

    def test_an_hour_of_successes_is_good(self) -> None:
        assert self.met(self.counted()) is (400 * len(routines()) >= soak.AN_HOUR)

    def test_one_failure_is_not(self) -> None:
        counts = self.counted(Verdict(POD, 0.0, "failure", "pod_lost", "node"))
        assert (soak.bad(counts, "failure"), self.met(counts), self.met(counts, loaded=True)) == (1, False, False)

    def test_an_inconclusive_attempt_is_only_good_under_load(self) -> None:
        counts = self.counted(Verdict(POD, 0.0, INCONCLUSIVE, "prober_starved"))
        assert not self.met(counts)
        assert self.met(counts, loaded=True) is self.met(self.counted())

    def test_a_routine_that_never_ran_is_not_good(self) -> None:
        assert not self.met({**self.counted(), POD: Counter()}, loaded=True)

    def test_too_few_attempts_are_not_good(self) -> None:
        assert not self.met(soak.counted([Verdict(name, 0.0, "success") for name in routines()]))


class TestKills:
    def kill(self, *after: str, before: tuple[str, ...] = ("pod/a",)) -> kills.Kill:
        return kills.Kill(POD, 0.5, 1.0, before, after, 0)

    def met(self, *found: kills.Kill) -> bool:
        return all(goal.met for goal in kills.goals(found, [POD]))

    def test_nothing_left_is_good(self) -> None:
        assert self.met(self.kill())

    def test_something_left_is_not(self) -> None:
        assert not self.met(self.kill("pod/a"))

    def test_a_kill_that_came_too_early_or_too_late_proves_nothing(self) -> None:
        assert not self.met(self.kill(before=()))

    def test_a_routine_that_makes_no_objects_leaves_none(self) -> None:
        silent = [f"{m.name}/{kind.name}" for m in MODULES for kind in m.routines if not kind.makes]
        assert all(goal.met for goal in kills.goals([], silent))


class TestSets:
    def event(self, message: str, name: str = "p") -> dict[str, Any]:
        state = {"terminated": {"message": message}}
        return {
            "objectRef": {"resource": "pods", "subresource": "status", "name": name},
            "requestObject": {"status": {"containerStatuses": [{"state": state}]}},
        }

    def message(self) -> str:
        return json.dumps({"task": "disk", "facts": {"process_resident_bytes": 1 << 24, "process_cpu_seconds": 0.25}})

    def test_a_canary_is_counted_once(self) -> None:
        found = list(sets.canaries([self.event(self.message()), self.event(self.message())]))
        assert found == [sets.Canary("disk", 16.0, 0.25)]

    def test_what_other_containers_say_is_left_out(self) -> None:
        other = {"objectRef": {"resource": "nodes", "subresource": "status", "name": "n"}, "requestObject": None}
        assert list(sets.canaries([self.event("Error"), other])) == []

    def test_requests_are_told_by_verb_and_minute(self) -> None:
        asked = Counter({("create", "pods"): 4, ("create", "configmaps"): 2})
        run = sets.Run(120.0, Use(1.0, 50.0, 50.0), Use(2.2, 52.0, 55.0), asked, [sets.Canary("disk", 16.0, 0.25)])
        found, reached = sets.figures("default", run)
        assert found["requests a minute"] == {"create": 3.0}
        assert {goal.name: goal.figure for goal in reached}["default: processor time, ms a second"] == pytest.approx(10)

    def test_everything_names_every_routine(self, tmp_path: Path) -> None:
        loaded = load(write(tmp_path / "khealth.yaml", sets.configuration("image")))
        assert len(loaded.routines) == len(routines())


class TestWebhooks:
    def test_an_answer_is_of_what_was_asked(self) -> None:
        said = webhooks.review(ASKED, webhooks.rejects({}, threading.Event()))
        assert (said["kind"], said["response"]["uid"], said["response"]["allowed"]) == ("AdmissionReview", "u", False)

    def test_a_finalizer_is_added_to_those_that_a_pod_has(self) -> None:
        """A Job's pod has one of the Job controller's."""
        said = webhooks.holds({"metadata": {"finalizers": ["own"]}}, threading.Event())
        (patch,) = json.loads(base64.b64decode(said["patch"]))
        assert patch["value"] == ["own", webhooks.FINALIZER]

    def test_one_that_hangs_answers_once_the_fault_is_over(self) -> None:
        over = threading.Event()
        over.set()
        assert webhooks.hangs({}, over) == {"allowed": True}

    def test_it_is_asked_about_pods_of_one_namespace_alone(self) -> None:
        (hook,) = webhooks.configuration("K", "https://h/", b"ca", "bench")["webhooks"]
        assert hook["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "bench"}}


class TestPager:
    def notification(self, status: str, severity: str) -> dict[str, Any]:
        return {"alerts": [{"status": status, "labels": {"alertname": "A", "severity": severity}}]}

    def test_who_is_told_knows_what_fires(self) -> None:
        told = Told()
        told.take(self.notification("firing", "critical"))
        assert (told.of("critical"), told.of("warning")) == (frozenset({"A"}), frozenset())

    def test_what_is_over_is_no_page(self) -> None:
        told = Told()
        told.take(self.notification("resolved", "critical"))
        assert told.of("critical") == frozenset()

    def test_every_shipped_receiver_that_tells_somebody_is_listened_to(self) -> None:
        shipped = yaml.safe_load((ALERTS / "alertmanager.yaml").read_text())
        with listening() as (url, _):
            found = [
                hook["url"] for one in addressed(shipped, url)["receivers"] for hook in one.get("webhook_configs", ())
            ]
        assert set(found) == {url}
        assert len(found) > 1


class TestKit:
    PROGRAM = 'import sys\nopen(sys.argv[1], "a").write(" ".join(sys.argv[2:]) + "\\n")\nprint("etcd 12")\nprint("kubelet@node-1 13")'

    @pytest.fixture
    def kit(self, tmp_path: Path) -> Kit:
        """A command that writes down what it is told."""
        return Kit(("python3", "-c", self.PROGRAM, str(tmp_path / "told")))

    def test_a_pattern_names_programs(self, kit: Kit) -> None:
        assert kit.programs("kubelet@*") == ["kubelet@node-1"]

    def test_what_is_broken_is_mended_whatever_happens(self, kit: Kit, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError), kit.broken(("pause", "resume"), ["a", "b"]):
            raise RuntimeError
        assert (tmp_path / "told").read_text().split("\n")[:-1] == ["pause a", "pause b", "resume b", "resume a"]

    def test_the_first_is_mended_where_the_second_cannot_be_broken(self, tmp_path: Path) -> None:
        failing = self.PROGRAM + '\nsys.exit("pause b" in " ".join(sys.argv))'
        kit = Kit(("python3", "-c", failing, str(tmp_path / "told")))
        with pytest.raises(Exception, match="exit status 1"), kit.broken(("pause", "resume"), ["a", "b"]):
            pytest.fail("it is not broken")
        assert (tmp_path / "told").read_text().split("\n")[:-1] == ["pause a", "pause b", "resume b", "resume a"]

    def test_all_controllers_come_back(self, kit: Kit, tmp_path: Path) -> None:
        with kit.without("job-controller"):
            pass
        told = (tmp_path / "told").read_text().split("\n")[:-1]
        assert [line.partition(" ")[0] for line in told] == ["stop", "start", "stop", "start"]


def test_the_page_shows_what_was_measured_last() -> None:
    """`python -m benchmarks.faults --rows= --write` writes it, without a measurement."""
    expected = fault_page.page(ROWS, faults.known(), ABOUT)
    text = fault_page.PAGE.read_text(encoding="utf-8")
    assert text[text.index("\n| fault |") :] == expected[expected.index("\n| fault |") :]
