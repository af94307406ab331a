"""What khealth says of its routines, as /status has it."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Status = Mapping[str, Any]
INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One attempt's verdict; `routine` is MODULE/ROUTINE, `began` when the attempt began, in Unix seconds."""

    routine: str
    began: float
    result: str
    reason: str = ""
    component: str = ""
    note: str = ""

    @property
    def said(self) -> str:
        """What it comes down to: the component that failed, `inconclusive`, or `success`."""
        return self.component if self.result == "failure" else self.result


def status(address: str) -> Status:
    """Return what /status says: with code 500 too, where something fails."""
    request = urllib.request.Request(f"{address}/status", headers={"Accept": "application/json"})  # noqa: S310 - here
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
            found: Status = json.load(answer)
    except urllib.error.HTTPError as answer:
        with answer:
            found = json.load(answer)
    return found


def verdicts(found: Status) -> Iterator[Verdict]:
    """Yield the verdicts, each routine's latest first."""
    for module in found["modules"]:
        for routine in module["routines"]:
            for attempt in routine["attempts"]:
                if attempt["result"]:
                    yield _verdict(f"{module['module']}/{routine['routine']}", attempt)


def under_way(found: Status) -> Iterator[tuple[str, float]]:
    """Yield each routine whose attempt has not ended, and when that began."""
    for module in found["modules"]:
        for routine in module["routines"]:
            for attempt in routine["attempts"]:
                if attempt["phase"]:
                    yield f"{module['module']}/{routine['routine']}", _unix(attempt["started_at"])


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _verdict(routine: str, attempt: Mapping[str, Any]) -> Verdict:
    told = (attempt[key] or "" for key in ("reason", "component", "note"))
    return Verdict(routine, _unix(attempt["started_at"]), attempt["result"], *told)


@dataclass(frozen=True, slots=True)
class Seen:
    """A verdict, and when it was seen first, in Unix seconds."""

    verdict: Verdict
    at: float


class Log:
    """Every verdict of a khealth, in the order in which they were seen."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._under_way: dict[str, float] = {}
        self._seen: dict[tuple[str, float], Seen] = {}

    def look(self) -> None:
        """Ask once more; an answer that does not come in time is left out."""
        try:
            found = status(self.address)
        except (OSError, ValueError):
            return
        now = time.time()
        self._under_way = dict(under_way(found))
        for verdict in verdicts(found):
            self._seen.setdefault((verdict.routine, verdict.began), Seen(verdict, now))

    def since(self, at: float) -> Sequence[Seen]:
        """Return what was seen since then, in order."""
        return sorted((seen for seen in self._seen.values() if seen.at >= at), key=lambda seen: seen.at)

    def latest(self) -> Mapping[str, Verdict]:
        """Return each routine's latest verdict."""
        found: dict[str, Verdict] = {}
        for seen in sorted(self._seen.values(), key=lambda seen: seen.verdict.began):
            found[seen.verdict.routine] = seen.verdict
        return found

    def well(self, since: float) -> bool:
        """Tell whether the latest verdict of every routine is a success, and no attempt of before is under way."""
        latest = self.latest().values()
        over = all(began >= since for began in self._under_way.values())
        return bool(latest) and over and all(found.result == "success" for found in latest)
