"""latency as the status page shows it, for any number of nodes."""

import random
from collections.abc import Iterator

from states import NOW

from khealth_exporter.canaries.agents.neighbors import neighbors
from khealth_exporter.core.snapshot import RoutineStatus, after
from khealth_exporter.routines.latency import Latency
from khealth_exporter.vocabulary.event import Event, Phase
from khealth_exporter.vocabulary.matrix import Matrix, Pair
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Distribution
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Verdict

_ZONES = 3
_INTERVAL = 60.0


def latency(count: int, cut: str = "") -> RoutineStatus:
    """Return latency between the nodes of three zones; nothing reaches the node `cut`, or comes from it."""
    status = RoutineStatus("network", "latency", _INTERVAL, Latency.steps)
    for number in range(1, 41):
        broken = cut if number > 36 else ""
        status = after(status, _event(number, count, broken))
    return status


def name(number: int) -> str:
    """Return the name of a node, as clouds give them."""
    return f"ip-10-0-{number // 100}-{number % 100:02}.ec2.internal"


def _event(number: int, count: int, cut: str) -> Event:
    note = f"network_unreachable: pods do not reach pods: {cut} → {name(1)} and 5 more; all with {cut}, and others are healthy"
    verdict = (
        Verdict(Result.FAILURE, Reason.ONE_NODE, note, Reason.ONE_NODE.component) if cut else Verdict(Result.SUCCESS)
    )
    began = NOW - 32 - _INTERVAL * (40 - number)
    pairs = list(_pairs(count, cut, random.Random(number)))
    return Event(
        "network", "latency", number, Phase.CLEANUP, verdict.result, began, began + 1.1, 1.1, began + 1.1, verdict.reason,
        verdict.note, verdict,
        distributions=tuple(_distribution(step, len(pairs)) for step in Latency.steps),
        matrix=Matrix.of(pairs),
        remarks=(Remark("pairs", f"{len(pairs)} between {count} nodes"),),
    )  # fmt: skip


def _pairs(count: int, cut: str, chance: random.Random) -> Iterator[Pair]:
    nodes = [name(number) for number in range(count)]
    for source, targets in neighbors(nodes, 3).items():
        for target in targets:
            failing = cut in (source, target)
            far = abs(nodes.index(source) - nodes.index(target)) % _ZONES
            median = chance.uniform(0.0002, 0.0004) + far * 0.0011
            lost = 1.0 if failing else 1 / 15 if chance.random() < 0.02 else 0.0
            yield Pair(source, target, None if failing else median, 0.0 if failing else median / 9, lost, failing)


def _distribution(step: Step, pairs: int) -> Distribution:
    counts = [0] * (len(step.edges) + 1)
    counts[4] = 5 * pairs
    return Distribution(step, tuple(counts), 5 * pairs * 0.00131, 0.00004)
