"""The API server's audit log: when each thing truly happened, and what each client asked for."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

CREATED = 201


@dataclass(frozen=True, slots=True)
class Interval:
    """Something happened not before `low` and not after `high`, both in Unix seconds; `cause` is its audit id."""

    low: float
    high: float
    cause: str = ""

    def until(self, later: "Interval") -> "Interval":
        """Return the interval in which the duration from here to something later lies, in seconds."""
        if self.cause and self.cause == later.cause:
            return Interval(0.0, 0.0)
        return Interval(later.low - self.high, later.high - self.low)

    def error(self, value: float) -> float:
        """Return how far a value is off: 0 inside, negative below."""
        return min(0.0, value - self.low) + max(0.0, value - self.high)


@dataclass(slots=True)
class Truth:
    """What the audit log tells of one namespace."""

    pods: dict[str, dict[str, Interval]] = field(default_factory=lambda: defaultdict(dict))
    """By pod and milestone, when it was reached."""
    accepted: dict[str, Interval] = field(default_factory=dict)
    """By controller, when its creation was accepted."""
    asked_to_go: dict[str, Interval] = field(default_factory=dict)
    """By controller, when its deletion was received."""


def lines(log: Path, start: int, needle: str) -> Iterator[Mapping[str, Any]]:
    """Yield the events that were written from an offset on and contain a text; a last line that is cut is left out."""
    with log.open("rb") as file:
        file.seek(start)
        for line in file:
            if needle.encode() in line and line.endswith(b"\n"):
                yield json.loads(line)


def truth(events: Iterable[Mapping[str, Any]], namespace: str) -> Truth:
    """Return what the log tells of the pods and controllers of a namespace."""
    found = Truth()
    for event in events:
        about = event.get("objectRef", {})
        done = event.get("stage") == "ResponseComplete" and event.get("responseStatus", {}).get("code", 0) <= CREATED
        if not done or about.get("namespace") != namespace:
            continue
        if about.get("resource") == "pods":
            _pod(found, event, about)
        elif about.get("resource") == "replicationcontrollers" and not about.get("subresource"):
            _controller(found, event, about)
    return found


def requests(events: Iterable[Mapping[str, Any]], agent: str) -> Counter[tuple[str, str]]:
    """Count the requests of clients whose User-Agent begins so, by verb and resource.

    A watch has two lines in the log: its beginning and its end.
    """
    seen: dict[str, tuple[str, str]] = {}
    for event in events:
        if event.get("userAgent", "").startswith(agent):
            seen[event["auditID"]] = event["verb"], event.get("objectRef", {}).get("resource", "")
    return Counter(seen.values())


def unix(timestamp: str) -> float:
    """Return an audit timestamp in Unix seconds."""
    return datetime.fromisoformat(timestamp).timestamp()


def interval(event: Mapping[str, Any]) -> Interval:
    """Return when a request was received, and when it was answered."""
    return Interval(unix(event["requestReceivedTimestamp"]), unix(event["stageTimestamp"]), event["auditID"])


def _controller(found: Truth, event: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    when = interval(event)
    if event["verb"] == "create":
        found.accepted.setdefault(about["name"], when)
    elif event["verb"] == "delete":
        found.asked_to_go.setdefault(about["name"], Interval(when.low, when.low))


def _pod(found: Truth, event: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    when, body = interval(event), event.get("requestObject") or {}
    match event["verb"], about.get("subresource"):
        case "create", None:
            name = event.get("responseObject", {}).get("metadata", {}).get("name") or about.get("name", "")
            found.pods[name].setdefault("created", when)
        case "create", "binding":
            found.pods[about["name"]].setdefault("scheduled", when)
        case "patch", "status":
            for milestone in _shown(body.get("status") or {}):
                found.pods[about["name"]].setdefault(milestone, when)
        case "delete", None if body.get("gracePeriodSeconds") == 0:
            found.pods[about["name"]]["deleted"] = when


def _shown(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield the milestones that a patch of a pod's status reports; it holds only what changes."""
    holds = {condition["type"] for condition in status.get("conditions") or () if condition.get("status") == "True"}
    if "PodReadyToStartContainers" in holds:
        yield "sandboxed"
    containers = status.get("containerStatuses") or ()
    if containers and all({"running", "terminated"} & (c.get("state") or {}).keys() for c in containers):
        yield "started"
    if "Ready" in holds:
        yield "ready"
