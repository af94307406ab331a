"""The content of `/status` as JSON, and of `/health` as one line of text."""

import json
from collections.abc import Sequence

from khealth_exporter.core.attempt_document import attempt_document, time_text
from khealth_exporter.core.snapshot import Attempt, RoutineStatus, Snapshot, State, worst
from khealth_exporter.vocabulary.event import Phase
from khealth_exporter.vocabulary.matrix import Matrix
from khealth_exporter.vocabulary.permission import Denied


def state_of(snapshots: Sequence[Snapshot]) -> State:
    """Return the overall state: that of the worst module."""
    return worst(tuple(snapshot.state for snapshot in snapshots))


def as_json(snapshots: Sequence[Snapshot], denied: Sequence[Denied] = ()) -> str:
    """Return all modules and missing permissions as JSON; times are UTC, durations in seconds."""
    return _text(
        {
            "state": state_of(snapshots).value,
            "forbidden": [_denied(right) for right in denied],
            "modules": [_module(snapshot) for snapshot in snapshots],
        }
    )


def module_as_json(snapshot: Snapshot) -> str:
    """Return one module as JSON."""
    return _text(_module(snapshot))


def as_line(snapshots: Sequence[Snapshot]) -> str:
    """Return the state of each module in one line, with the reasons of failures, and what still fails."""
    return ", ".join(f"{snapshot.module}: {_state(snapshot)}" for snapshot in snapshots)


def _state(snapshot: Snapshot) -> str:
    if snapshot.state in {State.WAITING, State.SUSPENDED}:  # Earlier reasons do not explain these states.
        return snapshot.state.value
    worst_ones = (status for status in snapshot.routines if status.state is snapshot.state)
    verdicts = (status.last.verdict for status in worst_ones if status.last)
    reasons = dict.fromkeys(verdict.reason.value for verdict in verdicts if verdict and verdict.reason)
    told = ", ".join((*reasons, *filter(None, (status.still_failing for status in snapshot.routines))))
    return f"{snapshot.state.value} ({told})" if told else snapshot.state.value


def _denied(right: Denied) -> dict[str, object]:
    return {
        "verb": right.verb,
        "resource": right.resource or None,
        "namespace": right.namespace or None,
        "optional": right.optional,
        "why": right.why,
        "since": time_text(right.since),
        "last": time_text(right.last),
        "note": right.note,
    }


def _text(document: dict[str, object]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _module(snapshot: Snapshot) -> dict[str, object]:
    return {
        "module": snapshot.module,
        "state": snapshot.state.value,
        "routines": [_routine(status) for status in snapshot.routines],
    }


def _routine(status: RoutineStatus) -> dict[str, object]:
    return {
        "routine": status.routine,
        "state": status.state.value,
        "since": time_text(status.since),
        "suspended_until": time_text(status.suspended_until),
        "skipped_at": time_text(status.skipped),
        "interval_seconds": status.interval,
        "consecutive_failures": status.consecutive_failures,
        "last_success": time_text(status.last_success),
        "remarks": {remark.name: remark.text for remark in status.remarks},
        **({"matrix": _matrix(status.matrix)} if status.matrix else {}),
        "last_failure": _attempt(status, status.last_failure) if status.last_failure else None,
        "attempts": [_attempt(status, attempt) for attempt in reversed(status.attempts)],
    }


def _matrix(matrix: Matrix) -> dict[str, object]:
    return {
        "measured": matrix.measured,
        "pairs": [
            {
                "from": pair.source,
                "to": pair.target,
                "seconds": round(pair.seconds, 6) if pair.seconds is not None else None,
                "jitter_seconds": round(pair.jitter, 6),
                "loss": round(pair.loss, 4),
                "failing": pair.failing,
            }
            for pair in matrix.pairs
        ],
    }


def _attempt(status: RoutineStatus, attempt: Attempt) -> dict[str, object]:
    return {"phase": phase_under_way(attempt), **attempt_document(attempt, attempt.verdict, status.steps)}


def phase_under_way(attempt: Attempt) -> str | None:
    """Return the current phase of an attempt; None after its end."""
    if attempt.ended:
        return None
    held = attempt.phase is Phase.INIT and attempt.verdict is None
    return (Phase.POLL if held else Phase.CLEANUP).value
