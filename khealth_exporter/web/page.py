"""The status page: one HTML document that needs nothing else."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape

from khealth_exporter.event import Denied, Measurement, Sample
from khealth_exporter.snapshot import Attempt, RoutineStatus, Snapshot
from khealth_exporter.web.status import state_of, time_text

_STYLE = """
:root { color-scheme: light dark; --well: #2a9d4b; --failing: #d1342f; --unknown: #b7860b; --resting: #6b7280; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 small, h2 small, .quiet { font-weight: normal; opacity: .7; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
td.figure, th.figure { text-align: right; font-variant-numeric: tabular-nums; }
.state { border-radius: .3rem; color: #fff; padding: .1rem .5rem; background: var(--unknown); }
.state.well, i.success { background: var(--well); }
.state.failing, i.failure { background: var(--failing); }
.state.suspended { background: var(--resting); }
i { background: var(--unknown); display: inline-block; height: 1.4rem; margin-right: 2px; width: .5rem; }
pre { overflow-x: auto; white-space: pre-wrap; }
section { border-top: 1px solid #8886; margin-top: 1.5rem; }
"""

_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Allows the page's own style, and nothing else that a browser could load or run."""

_REFRESH = 10
"""Seconds after which a browser loads the page again."""


def status_page(snapshots: Sequence[Snapshot], denied: Sequence[Denied] = ()) -> str:
    """Return the status page; all that came from the cluster is escaped."""
    state = state_of(snapshots).value
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="refresh" content="{_REFRESH}"><title>khealth: {state}</title>',
            f"<style>{_STYLE}</style></head><body>",
            f'<h1>khealth <span class="state {state}">{state}</span></h1>\n',
            *_denied(denied),
            *(part for snapshot in snapshots for part in _module(snapshot)),
            '<p class="quiet"><a href="/metrics">metrics</a> · <a href="/status">status as JSON</a> · ',
            '<a href="/config">configuration</a> · all times are UTC</p></body></html>\n',
        )
    )


def _denied(denied: Sequence[Denied]) -> Iterator[str]:
    """Yield what khealth may not do; nothing if it may do all that it has asked for."""
    if not denied:
        return
    yield "<section><h2>Forbidden</h2><table>"
    for right in denied:
        weight = "optional: verdicts may be less sharp" if right.optional else "required"
        cells = (str(right), weight, right.why, f"since {_time(right.since)}")
        yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
    yield "</table></section>\n"


def _module(snapshot: Snapshot) -> Iterator[str]:
    yield f"<section><h2>{escape(snapshot.module)}</h2>"
    for status in snapshot.routines:
        yield from _routine(status)
    yield "</section>\n"


def _routine(status: RoutineStatus) -> Iterator[str]:
    state = status.state.value
    yield f'<h3>{escape(status.routine)} <span class="state {state}">{state}</span></h3><p>'
    yield "".join(_bar(attempt) for attempt in status.attempts)
    yield "</p><table>"
    rows = (
        ("in this state since", _time(status.since)),
        ("last attempt", _attempt(status.last)),
        ("last success", _time(status.last_success)),
        ("failures in a row", str(status.consecutive_failures)),
        ("attempts begin every", f"{status.interval:g} s"),
    )
    yield from (f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    yield "</table>"
    if status.last:
        yield from _samples(status.last.samples)
    if status.last_failure:
        yield from _failure(status.last_failure)


def _bar(attempt: Attempt) -> str:
    result = attempt.verdict.result.value if attempt.verdict else "running"
    return f'<i class="{result}" title="{escape(_attempt(attempt))}"></i>'


def _attempt(attempt: Attempt | None) -> str:
    if attempt is None:
        return "none yet"
    verdict = attempt.verdict
    words = [
        verdict.result.value if verdict else "running",
        *([verdict.reason.value] if verdict and verdict.reason else []),
    ]
    return f"{_time(attempt.began)}: {', '.join(words)}, {attempt.duration:.2f} s"


def _time(seconds: float | None) -> str:
    text = time_text(seconds)
    return text[:19].replace("T", " ") if text else "never"


def _samples(samples: Sequence[Sample]) -> Iterator[str]:
    """Yield a table of the latest figures; nothing if there are none."""
    steps = tuple(dict.fromkeys(m.step for sample in samples for m in sample.measurements))
    if not steps:
        return
    heads = "".join(f'<th class="figure">{escape(step)}</th>' for step in steps)
    yield f"<table><tr><th>object</th><th>node</th>{heads}<th>quality</th></tr>"
    for sample in samples:
        figures = {m.step: _figure(m) for m in sample.measurements}
        cells = "".join(f'<td class="figure">{escape(figures.get(step, ""))}</td>' for step in steps)
        names = f"<td>{escape(sample.object)}</td><td>{escape(sample.node or '')}</td>"
        yield f"<tr>{names}{cells}<td>{sample.quality.value}</td></tr>"
    yield "</table>"


def _figure(measurement: Measurement) -> str:
    return f"{'>' if measurement.censored else ''}{measurement.seconds * 1000:.0f} ms"


def _failure(attempt: Attempt) -> Iterator[str]:
    verdict = attempt.verdict
    reason = verdict.reason if verdict else None
    what = f"{reason.value} ({reason.component.value})" if reason else "unknown"
    yield f"<h4>Last failure <small>{_time(attempt.began)}</small></h4><p><b>{what}</b> "
    yield f"{escape(verdict.note if verdict else '')}</p>"
    for evidence in attempt.evidence:
        lines = "\n".join(evidence.lines)
        yield f"<pre>{escape(f'{evidence.kind} {evidence.name}')}\n{escape(lines)}</pre>"
