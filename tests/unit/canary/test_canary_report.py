"""The document of a canary."""

import json

import pytest

from khealth_exporter.canary.report import LIMIT, Failed, Report


def test_a_success_has_everything_that_was_measured() -> None:
    report = Report("disk")
    report.durations["write"] = 0.0123456789123
    report.uncertainty = 1e-6
    report.facts |= {"syncs": 16, "result": "1"}
    expected = {
        "version": 1,
        "task": "disk",
        "ok": True,
        "reason": "",
        "error": "",
        "durations": {"write": 0.012345679},
        "uncertainty_seconds": 1e-6,
        "facts": {"syncs": 16, "result": "1"},
    }
    assert expected == json.loads(report.document())


def test_a_failure_keeps_what_was_measured_before() -> None:
    report = Report("disk")
    report.durations["write"] = 1.0
    report.facts["syncs"] = 3
    report.fail(Failed("disk_failed", "fsync: EIO: Input/output error", errno="EIO"))
    told = json.loads(report.document())
    expected = (False, "disk_failed", "fsync: EIO: Input/output error", {"write": 1.0}, {"syncs": 3, "errno": "EIO"})
    assert expected == tuple(told[name] for name in ("ok", "reason", "error", "durations", "facts"))


@pytest.mark.parametrize("character", ["x", '"', "\\", "\0", "é", "\U0001f4be", "\udc80"], ids=ascii)
def test_a_long_error_is_cut_so_that_the_document_stays_whole(character: str) -> None:
    """The kubelet cuts off what is longer, and a part of a JSON document is none."""
    report = Report("disk")
    report.fail(Failed("disk_failed", character * 5000))
    document = report.document()
    error = json.loads(document)["error"]
    assert LIMIT - 12 < len(document) <= LIMIT
    assert (character.encode("ascii", "backslashreplace").decode() * 5000).startswith(error)


def test_durations_of_one_name_add_up() -> None:
    report = Report("disk")
    with report.timed("write"):
        pass
    first, uncertainty = report.durations["write"], report.uncertainty
    with report.timed("write"):
        pass
    assert 0 < first < report.durations["write"]
    assert 0 < uncertainty < report.uncertainty


def test_an_operation_that_fails_has_taken_its_time_too() -> None:
    """A disk that reports an error after half a minute has been slow as well."""
    report = Report("disk")
    with pytest.raises(OSError, match="slow"), report.timed("fsync"):
        raise OSError("slow")
    assert report.durations["fsync"] > 0
