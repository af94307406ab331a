"""An attempt as a JSON document: what `khealth once --json` and `/status` both say."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from khealth_exporter.core.snapshot import Attempt
from khealth_exporter.vocabulary.sample import Distribution, Measurement, Sample
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Verdict

Document = dict[str, object]


def attempt_document(attempt: Attempt | None, verdict: Verdict | None, steps: Sequence[Step]) -> Document:
    """Return an attempt, or that there was none, with its verdict; `steps` are those that its routine declares.

    Times are in UTC, durations in seconds. A step that did not end has no duration: it is null, as is a milestone that
    was not reached. A step that a canary measured many times has the mean, and `counts` says of how many.
    """
    of_attempt = [step for step in steps if not step.per_object]
    return {
        "result": verdict.result.value if verdict else None,
        "reason": verdict.reason.value if verdict and verdict.reason else None,
        "component": verdict.component.value if verdict and verdict.component else None,
        "note": verdict.note if verdict else "",
        "started_at": time_text(attempt.began if attempt else None),
        "duration_seconds": round(attempt.duration, 6) if attempt else 0.0,
        "steps": durations(attempt.own if attempt else (), of_attempt),
        **_distributions(attempt.distributions if attempt else ()),
        "evidence": [
            {"kind": seen.kind, "name": seen.name, "lines": list(seen.lines)}
            for seen in (attempt.evidence if attempt else ())
        ],
        "samples": [_sample(sample, steps) for sample in (attempt.samples if attempt else ())],
    }


def _distributions(found: Sequence[Distribution]) -> Document:
    """Return of how many durations a step's is the mean; nothing for an attempt without such steps."""
    return {"counts": {one.step.name: one.count for one in found}} if found else {}


def _sample(sample: Sample, steps: Sequence[Step]) -> Document:
    return {
        "object": sample.object,
        "uid": sample.uid,
        "node": sample.node,
        "quality": sample.quality.value,
        "uncertainty_seconds": round(sample.uncertainty, 6),
        "steps": durations(sample.measurements, [step for step in steps if step.per_object]),
        "observed": {name: time_text(time) for name, time in sample.observed.items()},
        **({"injected": list(sample.injected)} if sample.injected else {}),
    }


def durations(measurements: Iterable[Measurement], steps: Iterable[Step]) -> dict[str, float | None]:
    """Return seconds by step, of these steps and of all others that were measured; null for a step that did not end."""
    ended = {m.step.name: None if m.censored else round(m.seconds, 6) for m in measurements}
    return {name: ended.get(name) for name in dict.fromkeys((*(step.name for step in steps), *ended))}


def time_text(seconds: float | None) -> str | None:
    """Return Unix seconds as UTC with microseconds."""
    if seconds is None:
        return None
    return f"{datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
