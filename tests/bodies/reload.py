"""What a running khealth makes of another configuration: by signal, by itself, and routine by routine."""

import functools
import signal
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from bodies.run import PATIENT
from bodies.target import Running, Target, wait_for

LABEL = "khealth.io/routine"


def settings(hold: float, **more: Any) -> dict[str, Any]:
    """Return a routine's settings: its pods are held for so many seconds, however long it takes until they are."""
    bounds = {"interval": f"{2 * PATIENT + hold:g}s", "timeout": f"{PATIENT:g}s", "pod_ttl": f"{hold:g}s"}
    return {**bounds, "poll_interval": "500ms", "replicas": 1, **more}


def write(path: Path, **routines: Mapping[str, Any]) -> Path:
    """Put a configuration of these routines in the file's place, at once."""
    new = path.with_suffix(".new")
    kinds = {label: {"kind": "rcscheduler", **told} for label, told in routines.items()}
    new.write_text(yaml.safe_dump({"modules": {"rcscheduler": kinds}}))
    return new.replace(path)


def interval(running: Running, routine: str = "a") -> float | None:
    """Return how often a routine is to begin, None where it has no series."""
    return running.metric("khealth_interval_seconds", routine=routine)


def in_force(running: Running, line: str) -> bool:
    """Tell whether the configuration in force has this line."""
    return line in map(str.strip, running.get("/config")[1].splitlines())


def pods(target: Target, routine: str) -> dict[str, bool]:
    """Return the uids of a routine's pods, and whether each is Ready and stays."""
    found = [pod for pod in target.pods() if pod.metadata.labels[LABEL] == routine]
    ready = {
        pod.metadata.uid
        for pod in found
        for condition in pod.status.conditions or []
        if condition.type == "Ready" and condition.status == "True" and not pod.metadata.deletion_timestamp
    }
    return {pod.metadata.uid: pod.metadata.uid in ready for pod in found}


def held(target: Target, routine: str, count: int) -> bool:
    """Tell whether a routine has so many pods, all of them Ready to stay."""
    found = pods(target, routine)
    return len(found) == count and all(found.values())


def test_a_hangup_applies_a_good_file(target: Target) -> None:
    """The log says that it is in force, and the metrics follow it; khealth goes on."""
    path = write(target.folder / "khealth.yaml", a=settings(1))
    with target.running(path) as running:
        write(path, a=settings(1, interval="1h"))
        running.process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: '"cause": "signal"' in running.log)
        wait_for("the metrics", lambda: interval(running) == 3600.0)
        wait_for("a success", lambda: running.state() == 200, target.patience)
        code = running.stop()
    assert (0, []) == (code, target.objects())


def test_a_bad_file_is_refused_and_the_old_one_stays(target: Target) -> None:
    """With all that is wrong in the log; once it is mended it is in force without anyone asking."""
    path = write(target.folder / "khealth.yaml", a=settings(1))
    with target.running(path) as running:
        before = running.get("/config"), interval(running)
        write(path, a=settings(1, replicas=0), Bad=settings(1))
        running.process.send_signal(signal.SIGHUP)
        wait_for("the refusal", lambda: running.metric("khealth_config_last_reload_successful") == 0)
        refused = running.get("/config"), interval(running)
        told = ("replicas: must be at least 1" in running.log, "Bad: invalid routine name" in running.log)
        write(path, a=settings(1, interval="1h"))
        wait_for("the mended file", lambda: interval(running) == 3600.0)
        successful = running.metric("khealth_config_last_reload_successful")
        code = running.stop()
    assert (before, (True, True), 1.0, 0) == (refused, told, successful, code)


def test_a_swap_like_the_kubelets_is_noticed(target: Target) -> None:
    """A ConfigMap's file is a link through one that is renamed: nothing of the file itself changes but its content."""

    def publish(version: str, **more: Any) -> None:
        folder = target.folder / f"..{version}"
        folder.mkdir()
        write(folder / "khealth.yaml", a=settings(1, **more))
        link = target.folder / "..data_tmp"
        link.symlink_to(folder.name)
        link.replace(target.folder / "..data")

    publish("1")
    path = target.folder / "khealth.yaml"
    path.symlink_to("..data/khealth.yaml")
    with target.running(path) as running:
        publish("2", interval="1h")
        wait_for("the swap to be noticed", lambda: interval(running) == 3600.0)
        code = running.stop()
    assert 0 == code


def test_a_suspension_stops_cleanly_and_is_shown(target: Target) -> None:
    """In mid-hold: nothing is left, no verdict is told, and what is resumed begins at once."""
    path = write(target.folder / "khealth.yaml", a=settings(30))
    with target.running(path) as running:
        wait_for("the hold", lambda: held(target, "a", 1), target.patience)
        write(path, a=settings(30, suspend=True))
        wait_for("the suspension", lambda: running.metric("khealth_suspended", routine="a") == 1)
        wait_for("the cleanup", lambda: not target.objects(), target.patience)
        wait_for("its verdict", lambda: running.metric("khealth_attempts_total") == 1)
        resting = running.get("/health"), running.metric("khealth_success"), running.get("/-/healthy")[0]
        write(path, a=settings(1))
        wait_for("a success", lambda: running.state() == 200, target.patience)
        resumed = running.metric("khealth_suspended", routine="a"), running.metric("khealth_failures_total")
        running.stop()
    assert (((503, "rcscheduler: suspended\n"), None, 200), (0.0, 0.0)) == (resting, resumed)


def test_a_maintenance_window_ends_by_itself(target: Target) -> None:
    """The routine is suspended until then, and starts without a reload; a request begins no attempt before."""
    path = target.folder / "khealth.yaml"
    for seconds in (15, 60):  # Where khealth takes long to start, the shorter window may have ended before it is up.
        end = (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0)
        write(path, a=settings(1, suspend_until=end.strftime("%Y-%m-%dT%H:%M:%SZ")))
        if _rested(target, path, end):
            return
    pytest.fail("khealth was not up within a minute")


def _rested(target: Target, path: Path, end: datetime) -> bool:
    """Follow a window that ends then; return whether khealth was up before."""
    with target.running(path) as running:
        resting = running.metric("khealth_suspended", routine="a"), running.get("/health")[1]
        asked = running.post("/-/run/rcscheduler/a")
        loaded = running.metric("khealth_config_last_reload_success_timestamp_seconds")
        if datetime.now(UTC) >= end:
            running.stop()
            return False
        wait_for("a success", lambda: running.state() == 200, target.patience + 60)
        resumed = running.metric("khealth_suspended", routine="a")
        again = running.metric("khealth_config_last_reload_success_timestamp_seconds")
        running.stop()
    refused = (409, "rcscheduler/a: no attempt begun: the routine is suspended\n")
    assert ((1.0, "rcscheduler: suspended\n"), refused, 0.0, loaded) == (resting, asked, resumed, again)
    return True


def test_what_is_unchanged_is_not_disturbed(target: Target) -> None:
    """It continues to hold its pods while its neighbor cleans up, starts again, and is removed in the end."""
    steady = settings(120)
    path = write(target.folder / "khealth.yaml", steady=steady, other=settings(120))
    with target.running(path) as running:
        wait_for("the hold", lambda: held(target, "steady", 1) and held(target, "other", 1), target.patience)
        before = pods(target, "steady")
        write(path, steady=steady, other=settings(120, replicas=2))
        wait_for("the changed one", lambda: held(target, "other", 2), target.patience)
        write(path, steady=steady)
        wait_for("the end of the removed one", lambda: interval(running, "other") is None, target.patience)
        after, left = pods(target, "steady"), pods(target, "other")
        judged = running.metric("khealth_attempts_total", routine="steady")
        code = running.stop()
    assert (before, {}, 0.0, 0) == (after, left, judged, code)
    assert [] == target.objects()


@pytest.mark.alone
def test_several_reloads_at_once_come_to_the_newest(target: Target) -> None:
    """While the first is still cleaning up, because nobody ends its pods; no two runners of one name are ever at work."""
    path = write(target.folder / "khealth.yaml", a=settings(30))
    with target.running(path) as running:
        wait_for("the hold", lambda: held(target, "a", 1), target.patience)
        with target.broken("controller-stalled"):
            for replicas in (2, 3, 4):
                write(path, a=settings(30, replicas=replicas))
                running.process.send_signal(signal.SIGHUP)
                wait_for("the reload", functools.partial(in_force, running, f"replicas: {replicas}"))
        wait_for("the newest", lambda: held(target, "a", 4), target.patience)
        made = {pod.metadata.labels["khealth.io/attempt"] for pod in target.pods()}
        running.stop()
    assert (1, []) == (len(made), target.objects())
