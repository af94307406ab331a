"""Protocol exit: a check says by its exit code whether it is well, and in words or output how long it took."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from khealth_exporter.canaries.asking import ASKING
from khealth_exporter.canaries.checks.endings import endings, failed
from khealth_exporter.canaries.checks.protocol import Protocol, Said
from khealth_exporter.canaries.evidence import of_pod
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.kinds import POD
from khealth_exporter.cluster.objects import ContainerStateDetail, Pod
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Evidence, Failed

READ_LOG = Permission("get", "pods/log", optional=True, why="read the steps that a check prints, and its last words")
OUTPUT = 65_536
"""Bytes that are kept of a container's output, from its end."""
_ASKED = 4 * OUTPUT
"""Bytes of output that are asked for; of more, a kubelet sends the first ones."""
_LINES = (1000, 100, 10)
"""Lines of output that are asked for, from its end; fewer, as long as they have too many bytes."""
LONGEST = 1e7
"""Seconds that a step may have."""
_LINE = re.compile(r"(?P<name>[a-z][a-z0-9_]{0,62})[ \t=]+(?P<value>[0-9.]+(?:[eE][-+]?[0-9]+)?)s?")
_LAST_WORDS = 12
"""Lines of output that are kept of a check that failed."""


class Exit(Protocol):
    """Exit code 0 is success; durations are `NAME SECONDS` lines of output, or JSON in the termination message."""

    async def said(self, trace: Trace[Pod], deadline: float) -> Said:
        """Return what the check said; output is read only if steps are declared, and need not be readable."""
        pod, names = trace.item, self.run.containers
        output = {name: await self._output(pod, name, deadline) for name in sorted(names)} if self.run.steps else {}
        durations, error = printed("\n".join(output.values())), ""
        for end in endings(pod, names).values():
            told = read(end.message)
            durations |= told.steps
            error = error or told.error
        if not (bad := failed(pod, names)):
            return Said(durations=durations)
        name, end = next(iter(bad.items()))
        note = f"{name} exited with code {end.exit_code}{_why(end)}: {error or _last(end.message) or 'no message'}"
        return Said(Reason.CHECK_FAILED, clean(note), durations, (of_pod(trace), *_words(output)))

    async def _output(self, pod: Pod, container: str, deadline: float) -> str:
        """Return the end of a container's output; empty if it cannot be read."""
        cluster = self.run.context.cluster
        path = f"{cluster.path(POD, pod.name)}/log"
        soon, body = min(deadline, self.run.context.clock.now() + ASKING), b""
        for lines in _LINES:
            query = {"container": container, "limitBytes": str(_ASKED), "tailLines": str(lines)}
            try:
                answer = await cluster.client.request("get", "pods/log", path, query=query, deadline=soon)
            except Failed:
                break
            if len(body := answer.body) < _ASKED:
                break
        return body[-OUTPUT:].decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Told:
    """What a termination message says in JSON: seconds by step, and what is wrong."""

    steps: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


def read(message: str) -> Told:
    """Return what a termination message says; what is no JSON object of that kind says nothing.

    A step that has no number, such as one that was not reached, takes nothing away from the others.
    """
    try:
        told = json.loads(message)
    except (ValueError, RecursionError):
        return Told()
    if not isinstance(told, dict):
        return Told()
    steps, error = told.get("steps"), told.get("error")
    found = steps.items() if isinstance(steps, dict) else ()
    numbers = {name: float(value) for name, value in found if _number(value)}
    return Told(numbers, error if isinstance(error, str) else "")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _possible(value)


def printed(output: str) -> dict[str, float]:
    """Return the durations that an output has, a line `NAME SECONDS` for each; the last line of a name counts."""
    return dict(_durations(output.splitlines()))


def _durations(lines: Sequence[str]) -> Iterator[tuple[str, float]]:
    for line in lines:
        if match := _LINE.fullmatch(line.strip()):
            try:
                value = float(match["value"])
            except ValueError:
                continue
            if _possible(value):
                yield match["name"], value


def _possible(seconds: float) -> bool:
    return 0 <= seconds <= LONGEST


def _why(end: ContainerStateDetail) -> str:
    return f" ({end.reason})" if end.reason not in {"", "Error"} else ""


def _last(message: str) -> str:
    return next((line for line in reversed(message.splitlines()) if line.strip()), "")


def _words(output: Mapping[str, str]) -> Iterator[Evidence]:
    for name, text in output.items():
        if lines := [clean(line) for line in text.splitlines() if line.strip()]:
            yield Evidence("Output", name, tuple(lines[-_LAST_WORDS:]))
