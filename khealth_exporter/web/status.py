"""What `/status` and `/health` say, as JSON and as one line of text."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from khealth_exporter.core.snapshot import Attempt, RoutineStatus, Snapshot, State, worst
from khealth_exporter.vocabulary.event import Phase
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Sample


def state_of(snapshots: Sequence[Snapshot]) -> State:
    """Return how everything stands: as its worst module."""
    return worst(tuple(snapshot.state for snapshot in snapshots))


def as_json(snapshots: Sequence[Snapshot], denied: Sequence[Denied] = ()) -> str:
    """Return every module, and what khealth may not do, as a JSON document; times are UTC, durations seconds."""
    return _text(
        {
            "state": state_of(snapshots).value,
            "forbidden": [_denied(right) for right in denied],
            "modules": [_module(snapshot) for snapshot in snapshots],
        }
    )


def module_as_json(snapshot: Snapshot) -> str:
    """Return one module as a JSON document."""
    return _text(_module(snapshot))


def as_line(snapshots: Sequence[Snapshot]) -> str:
    """Return each module's state in one line, with the reasons where it is not well."""
    return ", ".join(f"{snapshot.module}: {_state(snapshot)}" for snapshot in snapshots)


def time_text(seconds: float | None) -> str | None:
    """Return Unix seconds as UTC with microseconds."""
    if seconds is None:
        return None
    return f"{datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _state(snapshot: Snapshot) -> str:
    if snapshot.state in {State.WAITING, State.SUSPENDED}:  # What came before it is no reason of it.
        return snapshot.state.value
    worst_ones = (status for status in snapshot.routines if status.state is snapshot.state)
    verdicts = (status.last.verdict for status in worst_ones if status.last)
    reasons = dict.fromkeys(verdict.reason.value for verdict in verdicts if verdict and verdict.reason)
    return f"{snapshot.state.value} ({', '.join(reasons)})" if reasons else snapshot.state.value


def _denied(right: Denied) -> dict[str, object]:
    return {
        "verb": right.verb,
        "resource": right.resource,
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
        "interval_seconds": status.interval,
        "consecutive_failures": status.consecutive_failures,
        "last_success": time_text(status.last_success),
        "last_failure": _attempt(status.last_failure) if status.last_failure else None,
        "attempts": [_attempt(attempt) for attempt in reversed(status.attempts)],
    }


def _attempt(attempt: Attempt) -> dict[str, object]:
    verdict = attempt.verdict
    reason = verdict.reason if verdict else None
    document: dict[str, object] = {
        "started_at": time_text(attempt.began),
        "phase": phase_under_way(attempt),
        "result": verdict.result.value if verdict else None,
        "reason": reason.value if reason else None,
        "component": reason.component.value if reason else None,
        "note": verdict.note if verdict else "",
        "duration_seconds": round(attempt.duration, 6),
        "steps": {m.step: round(m.seconds, 6) for m in attempt.measurements if not m.censored},
    }
    if attempt.samples:
        document["samples"] = [_sample(sample) for sample in attempt.samples]
    if verdict and verdict.result is not Result.SUCCESS:
        document["evidence"] = [{"kind": e.kind, "name": e.name, "lines": list(e.lines)} for e in attempt.evidence]
    return document


def phase_under_way(attempt: Attempt) -> str | None:
    """Return the phase that follows the one that ended last; None when all have."""
    if attempt.ended:
        return None
    held = attempt.phase is Phase.INIT and attempt.verdict is None
    return (Phase.POLL if held else Phase.CLEANUP).value


def _sample(sample: Sample) -> dict[str, object]:
    return {
        "object": sample.object,
        "node": sample.node,
        "quality": sample.quality.value,
        "uncertainty_seconds": round(sample.uncertainty, 6),
        "steps": {m.step: round(m.seconds, 6) for m in sample.measurements if not m.censored},
        "observed": {name: time_text(time) for name, time in sample.observed.items()},
    }
