"""Protocol exit: a check says by its exit code whether it is well, and in words or output how long it took."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

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
"""Bytes of a container's output that are read, from its end."""
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
            durations |= {step: value for step, value in told.steps.items() if _possible(value)}
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
        query = {"container": container, "limitBytes": str(OUTPUT), "tailLines": "1000"}
        soon = min(deadline, self.run.context.clock.now() + ASKING)
        try:
            answer = await cluster.client.request("get", "pods/log", path, query=query, deadline=soon)
        except Failed:
            return ""
        return answer.body.decode(errors="replace")


class Told(msgspec.Struct, frozen=True):
    """What a termination message may say in JSON."""

    steps: Mapping[str, float] = {}
    error: str = ""


def read(message: str) -> Told:
    """Return what a termination message says; nothing if it is no such JSON."""
    try:
        return msgspec.json.decode(message or "{}", type=Told)
    except msgspec.MsgspecError:
        return Told()


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
    return math.isfinite(seconds) and 0 <= seconds <= LONGEST


def _why(end: ContainerStateDetail) -> str:
    return f" ({end.reason})" if end.reason not in {"", "Error"} else ""


def _last(message: str) -> str:
    return next((line for line in reversed(message.splitlines()) if line.strip()), "")


def _words(output: Mapping[str, str]) -> Iterator[Evidence]:
    for name, text in output.items():
        if lines := [clean(line) for line in text.splitlines() if line.strip()]:
            yield Evidence("Output", name, tuple(lines[-_LAST_WORDS:]))
