"""The task `compute`."""

import os
from itertools import count
from pathlib import Path

import pytest
from canary_process import Canary, await_handlers

from khealth_exporter.canary import compute, kernel
from khealth_exporter.canary.__main__ import parser
from khealth_exporter.canary.report import Failed, Report


@pytest.mark.parametrize(("n", "number"), [(0, 0), (1, 1), (2, 1), (10, 55), (90, 2880067194370816120)])
def test_the_number_is_in_the_document_as_a_string(n: int, number: int, canary: Canary) -> None:
    """JSON readers round integers beyond 2**53."""
    expected = str(number)
    assert expected == canary.run("compute", "--n", n, "--cpu-seconds", 0.001)["facts"]["result"]


def test_the_largest_number_fits_into_the_document(canary: Canary) -> None:
    expected = 2090
    assert expected == len(canary.run("compute", "--n", compute.LARGEST)["facts"]["result"])


def test_it_uses_as_much_cpu_as_it_is_told_to(canary: Canary) -> None:
    """So that wall time means something beside it."""
    document = canary.run("compute", "--cpu-seconds", 0.2)
    facts = document["facts"]
    assert 0.2 <= facts["cpu_seconds"] <= facts["process_cpu_seconds"]
    assert facts["cpu_seconds"] <= facts["wall_seconds"] + 0.001
    assert facts["wall_seconds"] == document["durations"]["compute"]


def test_the_wait_for_a_cpu_that_another_process_has_is_told(canary: Canary, tmp_path: Path) -> None:
    """Both share one CPU, so each waits about half of the time."""
    if kernel.waited() is None:
        pytest.skip("this kernel has no schedstat")
    cpu = min(os.sched_getaffinity(0))

    def pinned() -> None:
        os.sched_setaffinity(0, {cpu})

    with Canary(tmp_path / "other").start("compute", "--cpu-seconds", 1000, preexec_fn=pinned) as other:
        await_handlers(other.pid)
        facts = canary.run("compute", "--cpu-seconds", 0.3, preexec=pinned)["facts"]
        other.kill()
    assert facts["waiting_seconds"] > 0.05
    assert facts["preemptions"] > 0


def test_two_computations_that_differ_are_a_wrong_result(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = count(41)
    monkeypatch.setattr(compute, "fibonacci", lambda _n: next(numbers))
    with pytest.raises(Failed, match="repetition 1 differs: 42") as failed:
        compute.run(parser().parse_args(["compute"]), Report("compute"))
    expected = ("wrong_result", {"result": "41"})
    assert expected == (failed.value.reason, failed.value.facts)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cpu.stat", "usage_usec 9\nnr_periods 40\nnr_throttled 3\nthrottled_usec 1500000\n"),
        ("cpu/cpu.stat", "nr_periods 40\nnr_throttled 3\nthrottled_time 1500000000\n"),
        ("cpu,cpuacct/cpu.stat", "nr_periods 40\nnr_throttled 3\nthrottled_time 1500000000\n"),
    ],
)
def test_throttling_is_read_from_both_versions_of_cgroups(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    read = kernel.throttling(str(tmp_path))
    assert read is not None
    expected = (3, 1.5)
    assert expected == (read.periods, read.seconds)


@pytest.mark.parametrize("text", ["", "usage_usec 9\n", "nr_throttled many\n", "one\n"])
def test_throttling_that_the_kernel_does_not_report_is_unknown(text: str, tmp_path: Path) -> None:
    """The root of cgroup v2 has only the usage."""
    (tmp_path / "cpu.stat").write_text(text)
    assert kernel.throttling(str(tmp_path)) is None


def test_steal_is_that_of_all_cpus(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    path.write_text("cpu  1 2 3 4 5 6 7 800 9 10\ncpu0 0 0 0 0 0 0 0 400 0 0\n")
    expected = 8.0
    assert expected == kernel.stolen(str(path))


def test_what_the_kernel_does_not_report_is_not_in_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero would mean that there was none."""
    for name in ("throttling", "stolen", "waited"):
        monkeypatch.setattr(kernel, name, lambda: None)
    report = Report("compute")
    compute.run(parser().parse_args(["compute", "--cpu-seconds", "0.001"]), report)
    expected = {"result", "rounds", "wall_seconds", "cpu_seconds", "preemptions"}
    assert expected == report.facts.keys()
