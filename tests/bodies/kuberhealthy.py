"""What a check made for Kuberhealthy reports; the test sends it for the pod, as the pod's environment says."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from bodies.attempts import Once, repeated
from bodies.target import Target, wait_for

HANGS = ("config", "--path", "/nowhere", "--value", "never")
ENDS_LATER = (*HANGS, "--timeout", "12")
"""Long after its report is sent, and long before khealth, which waits for 22 s after it, no longer lets it go on."""


def environment(target: Target) -> Mapping[str, str]:
    """Return what the check's container is told, once its pod runs."""

    def told() -> dict[str, str]:
        running = [pod for pod in target.pods() if pod.status.phase == "Running"]
        return {entry.name: entry.value for pod in running for entry in pod.spec.containers[0].env or []}

    found: Mapping[str, str] = wait_for("a pod that runs", told, target.patience)
    return found


def send(told: Mapping[str, str], document: object, run: str | None = None) -> int:
    """Send a report, and return the code of the answer."""
    headers = {"Content-Type": "application/json", "kh-run-uuid": run or told["KH_RUN_UUID"]}
    request = urllib.request.Request(told["KH_REPORTING_URL"], json.dumps(document).encode(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def reported(
    target: Target, *documents: object, run: str | None = None, words: Sequence[str] = ENDS_LATER, **settings: Any
) -> tuple[Once, list[int]]:
    """Make one attempt, in which the pod sends these reports; return what is found, and the codes of the answers.

    If the pod comes so late that nobody listens any more, there is another attempt.
    """
    written = target.checks(*words, protocol="kuberhealthy", **settings)

    def speak(codes: list[int]) -> None:
        with suppress(AssertionError, OSError):  # There is no pod, or nobody listens.
            told = environment(target)
            codes.extend(send(told, document, run) for document in documents)

    def attempt() -> tuple[Once, list[int]]:
        codes: list[int] = []
        with ThreadPoolExecutor(1) as pool:
            speaking = pool.submit(speak, codes)
            found = target.attempt(written, "custom/mine")
            speaking.result()
        return found, codes

    return repeated(attempt, lambda made: made[0].spoiled or not made[1])


def test_a_report_of_success_is_a_success(target: Target) -> None:
    """The second report, of a failure, comes too late, and so does the pod's exit code; but the pod ends by itself."""
    found, codes = reported(target, {"OK": True, "Errors": []}, {"OK": False, "Errors": ["no"]})
    assert (0, 200, []) == (found.code, codes[0], target.objects()), found.told
    assert {"accept", "check"} == set(found.attempt["steps"])
    assert "it ended" == found.attempt["remarks"]["after its report"]


def test_reported_errors_fail_the_check(target: Target) -> None:
    """They are evidence."""
    found, codes = reported(target, {"ok": False, "errors": ["no route", "no name"]}, component="network")
    assert (1, {"mine": ("network", "check_failed")}, [200]) == (found.code, found.blamed, codes), found.told
    lines = [one["lines"] for one in found.attempt["evidence"] if one["kind"] == "Report"]
    assert ([["no route", "no name"]], []) == (lines, target.objects())


def test_a_stranger_reports_nothing(target: Target) -> None:
    """The check stays silent until its time-out."""
    stranger = "00000000-0000-4000-8000-000000000000"
    found, codes = reported(target, {"OK": True}, run=stranger, words=HANGS, timeout="15s")
    assert (1, {"mine": ("workload", "check_silent")}, [400]) == (found.code, found.blamed, codes), found.told
