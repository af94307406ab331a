"""What an attempt says of the cluster, and on what evidence."""

from dataclasses import dataclass

from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an object looked like when an attempt failed, in lines for people."""

    kind: str
    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt says of the cluster; an attempt has exactly one."""

    result: Result
    reason: Reason | None = None
    note: str = ""


class Failed(Exception):  # noqa: N818 - it reads as what happened: `raise Failed(reason, note)`
    """What a routine raises to say that, and why, its exercise did not succeed.

    A cleanup that raises it is tried again, unless the failure is `settled`: all is gone, but not as it should have.
    """

    def __init__(
        self, reason: Reason, note: str = "", evidence: tuple[Evidence, ...] = (), *, settled: bool = False
    ) -> None:
        super().__init__(f"{reason}: {note}" if note else str(reason))
        self.reason, self.note, self.evidence, self.settled = reason, note, evidence, settled
