"""Names, labels and owners of what khealth makes; and what of it a dead run left."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documents import read
from hypothesis import example, given
from hypothesis import strategies as st

from khealth_exporter.cluster.objects import KubernetesObject
from khealth_exporter.cluster.ownership import (
    ATTEMPT,
    INSTANCE,
    MANAGED,
    MAX_AGE,
    MODULE,
    ROUTINE,
    RUN,
    SELECTOR,
    Identity,
    Owner,
    process_start,
    still_runs,
)

OWNER = Owner("khealth-7d9f", "uid-of-our-pod")
ALIVE = "17-4711"
OURS = Identity("ab12cd34", "khealth", OWNER, "1-100", lambda instance: instance == ALIVE)
HOMELESS = Identity("ab12cd34", "khealth")
CREATED, BORN = "2026-11-23T14:30:00Z", 1795444200.0


def made(
    run: str = "other", max_age: str | None = "100", *, created: str = CREATED, **annotations: str
) -> KubernetesObject:
    """Return an object that a run of khealth made."""
    ages = {} if max_age is None else {MAX_AGE: max_age}
    metadata = {"name": "x", "labels": {RUN: run}, "annotations": {**ages, **annotations}, "creationTimestamp": created}
    return read(KubernetesObject, {"metadata": metadata})


def test_the_selector_finds_what_the_labels_mark() -> None:
    """Whatever khealth makes carries the label that it watches."""
    name, _, value = SELECTOR.partition("=")
    assert value == OURS.of_attempt("m", "a", 1, 100.0).labels[name]


def test_labels_say_whose_an_object_is() -> None:
    """Manager, module, routine, run and attempt."""
    expected = {MANAGED: "khealth", MODULE: "m", ROUTINE: "a", RUN: "ab12cd34", ATTEMPT: "7"}
    assert expected == OURS.of_attempt("m", "a", 7, 100.0).labels


NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,28}[a-z0-9])?", fullmatch=True)


WORDS = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("-".join)
"""Few and short, with hyphens in any place, so that different modules and routines look alike when they are joined."""
MODULES = st.sampled_from(["rcscheduler", "control-plane", "workloads"]) | WORDS


@given(MODULES, NAMES, st.integers(1, 10**8 - 1))
@example("control-plane", "a" * 30, 10**8 - 1)
def test_names_leave_room_for_a_pods_suffix(module: str, routine: str, attempt: int) -> None:
    """A ReplicationController's pods are called like it, with a hyphen and five letters: 63 at most."""
    name = OURS.of_attempt(module, routine, attempt, 100.0).name
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) + 6 <= 63


@given(
    MODULES,
    MODULES,
    WORDS | NAMES,
    WORDS | NAMES,
    st.integers(1, 99),
    st.integers(1, 99),
    st.sampled_from(["ab12cd34", "ff00ff00"]),
)
@example("a", "control-plane", "api", "api", 1, 1, "ab12cd34")
@example("control-plane", "control-plane", "a" * 30, "a" * 29 + "b", 1, 1, "ab12cd34")
@example("network", "network-policy", "policy-dns", "dns", 1, 1, "ab12cd34")
@example("network-policy", "network", "network-policy", "policy", 1, 1, "ab12cd34")
def test_no_two_attempts_share_a_name(  # noqa: PLR0913, PLR0917 - each may differ
    module: str, another: str, one: str, other: str, first: int, second: int, run: str
) -> None:
    """Another module, routine, run or attempt has another name, and is told apart by the key of its labels."""
    ours = Identity("ab12cd34", "khealth").of_attempt(module, one, first, 100.0)
    theirs = Identity(run, "khealth").of_attempt(another, other, second, 100.0)
    same = (module, one, first, "ab12cd34") == (another, other, second, run)
    assert (same, same) == (ours.name == theirs.name, ours.key == theirs.key)


def test_an_attempt_knows_its_own_objects() -> None:
    """By all of its labels: the same routine's name in another module is somebody else's."""
    ours = OURS.of_attempt("m", "a", 1, 100.0)
    theirs = OURS.of_attempt("n", "a", 1, 100.0)
    found = [read(KubernetesObject, {"metadata": {"name": "x", "labels": dict(o.labels)}}) for o in (ours, theirs)]
    assert [True, False] == [ours.marks(item) for item in found]


def test_what_is_made_in_a_pod_goes_with_it() -> None:
    """Its owner is khealth's own Pod, and the annotation names the instance."""
    ours = OURS.of_attempt("m", "a", 1, 100.0)
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "khealth-7d9f", "uid": "uid-of-our-pod"}
    told = ours.metadata()["ownerReferences"], ours.annotations[INSTANCE]
    assert ([reference], "uid-of-our-pod.1-100") == told


def test_what_is_made_elsewhere_has_no_owner() -> None:
    """Outside of a Pod, or in another namespace, only sweeps take what is left."""
    assert "ownerReferences" not in HOMELESS.of_attempt("m", "a", 1, 100.0).metadata()


@pytest.mark.parametrize(("seconds", "text"), [(100.0, "100"), (100.2, "101")])
def test_the_longest_rightful_life_is_annotated_in_seconds(seconds: float, text: str) -> None:
    """Rounded up: nobody is swept a moment too early."""
    assert text == HOMELESS.of_attempt("m", "a", 1, seconds).annotations[MAX_AGE]


def test_what_this_run_made_is_mine() -> None:
    """The run's own word decides."""
    assert (True, False) == (OURS.mine(made("ab12cd34")), OURS.mine(made("other")))


@pytest.mark.parametrize(("age", "dead"), [(0.0, False), (100.0, False), (100.1, True), (-50.0, False)])
def test_what_is_older_than_its_max_age_is_dead(age: float, dead: bool) -> None:
    """By the API server's own clock, and only beyond it."""
    assert dead is OURS.dead(made(), BORN + age)


def test_what_an_earlier_process_of_the_same_pod_made_is_dead() -> None:
    """A container that was restarted is a new run in the same Pod."""
    assert OURS.dead(made(**{INSTANCE: "uid-of-our-pod.17-4710"}), BORN)


def test_what_a_living_process_of_the_same_pod_made_is_not_dead() -> None:
    """`kubectl exec deploy/khealth -- khealth once` beside a running khealth: neither takes the other's objects."""
    assert not OURS.dead(made(**{INSTANCE: f"uid-of-our-pod.{ALIVE}"}), BORN + 99.0)


@pytest.mark.parametrize("instance", ["uid-of-our-pod", "uid-of-our-pod.", "uid-of-our-pod.x-1"])
def test_an_instance_of_the_same_pod_that_names_no_process_is_dead(instance: str) -> None:
    """An older version wrote no process: a pod that has this version runs that one no more."""
    assert OURS.dead(made(**{INSTANCE: instance}), BORN)


@pytest.fixture
def neighbour() -> Iterator[subprocess.Popen[bytes]]:
    """Run another process beside this one."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def of_process(run: str, pid: int | None = None) -> Identity:
    """Return who a process of this Pod is."""
    return Identity(run, "khealth", OWNER, process_start(pid))


def object_of(identity: Identity) -> KubernetesObject:
    """Return what an attempt of this process has just created."""
    metadata = {**identity.of_attempt("m", "a", 1, 100.0).metadata(), "creationTimestamp": CREATED}
    return read(KubernetesObject, {"metadata": metadata})


def test_two_processes_of_one_pod_leave_each_other_alone(neighbour: subprocess.Popen[bytes]) -> None:
    """They have one POD_UID, and both run: neither takes the other's objects for left behind."""
    ours, theirs = of_process("ours"), of_process("theirs", neighbour.pid)
    assert (False, False) == (ours.dead(object_of(theirs), BORN), theirs.dead(object_of(ours), BORN))


def test_what_a_process_of_the_same_pod_left_is_dead_as_soon_as_it_has_ended(
    neighbour: subprocess.Popen[bytes],
) -> None:
    """Its objects need not grow old."""
    left = object_of(of_process("theirs", neighbour.pid))
    neighbour.kill()
    neighbour.wait()
    assert of_process("ours").dead(left, BORN)


def test_a_process_is_told_by_its_start_time_too() -> None:
    """A process id alone is used again."""
    ours = process_start()
    assert ours is not None
    pid, _, started = ours.partition("-")
    runs = Identity("r", "n").runs
    assert (str(os.getpid()), True, False) == (pid, runs(ours), runs(f"{pid}-{int(started) + 1}"))


def test_a_process_that_has_ended_has_no_start() -> None:
    """Nothing of it is left in /proc."""
    assert None is process_start(2**22 + 1)


def test_what_a_living_neighbour_made_is_not_dead() -> None:
    """Another instance's objects live out their time."""
    assert not OURS.dead(made(**{INSTANCE: "uid-of-another-pod.1-1"}), BORN + 99.0)


def test_what_this_run_made_is_never_dead() -> None:
    """However old it is, and whatever instance it names: the run itself knows."""
    assert not OURS.dead(made("ab12cd34", **{INSTANCE: "uid-of-our-pod"}), BORN + 1e6)


@pytest.mark.parametrize(("age", "dead"), [(3600.0, False), (3601.0, True)])
def test_without_a_max_age_an_hour_is_allowed(age: float, dead: bool) -> None:
    """Somebody may have stripped the annotation."""
    assert dead is OURS.dead(made(max_age=None), BORN + age)


@pytest.mark.parametrize("max_age", ["soon", "", "nan", "inf", "1e400"])
def test_a_max_age_that_makes_no_sense_protects(max_age: str) -> None:
    """What is not understood is not deleted."""
    assert not OURS.dead(made(max_age=max_age), BORN + 1e9)


@pytest.mark.parametrize("created", ["", "yesterday"])
def test_what_has_no_age_is_not_dead(created: str) -> None:
    """Nor is what has no birthday."""
    assert not OURS.dead(made(created=created), BORN + 1e9)


@given(st.text(max_size=10), st.text(max_size=30), st.floats(allow_nan=False))
def test_no_annotation_raises(max_age: str, created: str, now: float) -> None:
    """Whatever stands on a neighbour's objects."""
    verdict: Any = OURS.dead(made(max_age=max_age, created=created), now)
    assert isinstance(verdict, bool)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(errno.ENOENT, False), (errno.ESRCH, False), (errno.EMFILE, True), (errno.ENFILE, True), (errno.EACCES, True)],
)
def test_a_process_that_cannot_be_read_is_taken_for_running(
    monkeypatch: pytest.MonkeyPatch, code: int, expected: bool
) -> None:
    """Otherwise a khealth without free file descriptors deletes the objects of one that runs in the same Pod."""

    def fails(*_: object, **__: object) -> str:
        raise OSError(code, os.strerror(code))

    instance = process_start() or ""
    assert still_runs(instance)
    monkeypatch.setattr(Path, "read_text", fails)
    assert expected == still_runs(instance)


def test_a_part_of_an_attempt_has_a_name_of_its_own_and_its_labels() -> None:
    """It is swept and found as the rest of the attempt is."""
    whole = Identity("run", "khealth").of_attempt("storage", "volume", 1, 60.0)
    part = whole.part("write")
    assert (f"{whole.name}-write", whole.labels, whole.key) == (part.name, part.labels, part.key)
