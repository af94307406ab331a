"""Event: one phase of one attempt has ended; Skipped: an attempt was not begun."""

from dataclasses import dataclass
from enum import StrEnum

from khealth_exporter.vocabulary.matrix import Matrix
from khealth_exporter.vocabulary.reading import Reading, Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Distribution, Measurement, Quality, Sample
from khealth_exporter.vocabulary.verdict import Evidence, Verdict


class Phase(StrEnum):
    """A part of an attempt; each that began makes one Event."""

    INIT = "init"
    POLL = "poll"
    CLEANUP = "cleanup"


@dataclass(frozen=True, slots=True)
class Completed:
    """An attempt as a whole: the seconds of init and cleanup without the hold, and the quality of each sample."""

    duration: float
    qualities: tuple[Quality, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One phase of one attempt has ended.

    `verdict` is set on exactly one Event of an attempt: the first that did not succeed, or else cleanup's. `completed`
    is set on the attempt's last Event. `began` is the attempt's beginning and `ended` the phase's end, both in Unix
    seconds; `at` is the phase's end in monotonic seconds, and `duration` is the phase's, in seconds.
    """

    module: str
    routine: str
    attempt: int
    phase: Phase
    result: Result
    began: float
    ended: float
    duration: float
    at: float
    reason: Reason | None = None
    note: str = ""
    verdict: Verdict | None = None
    measurements: tuple[Measurement, ...] = ()
    samples: tuple[Sample, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    readings: tuple[Reading, ...] = ()
    remarks: tuple[Remark, ...] = ()
    matrix: Matrix | None = None
    evidence: tuple[Evidence, ...] = ()
    completed: Completed | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """An attempt was not begun in its turn, because the API server was throttling; `at` is in Unix seconds."""

    module: str
    routine: str
    at: float
