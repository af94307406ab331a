"""The report as JSON."""

import json

from khealth_exporter.core.attempt_document import attempt_document
from khealth_exporter.report.report import Entry, Report, entries


def as_json(report: Report) -> str:
    """Return the report as one JSON document."""
    document = {
        "version": report.version,
        "cluster": report.cluster,
        "result": report.result.value,
        "attempts": [_attempt(entry) for entry in entries(report)],
    }
    return json.dumps(document, indent=2)


def _attempt(entry: Entry) -> dict[str, object]:
    names = {"module": entry.status.module, "routine": entry.status.routine}
    remarks = {remark.name: remark.text for remark in entry.status.remarks}
    more = {"remarks": remarks} if remarks else {}
    return {**names, **attempt_document(entry.attempt, entry.verdict, entry.status.steps), **more}
