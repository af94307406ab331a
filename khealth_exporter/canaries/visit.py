"""One attempt's visit to the next node of its routine's rotation, and what its failure says of that node."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from khealth_exporter.canaries.diagnosis import SHARED, alone
from khealth_exporter.canaries.nodes import next_node, rotation_of
from khealth_exporter.canaries.pod_spec import Placement
from khealth_exporter.cluster.kinds import POD
from khealth_exporter.core.routine import AttemptId, Context, Recorded
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Figure, Reading, Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.verdict import Failed

FAILING = Figure("nodes_failing", "Nodes on which the last canary pod failed.")
CHOOSE = Permission("list", "nodes", scope="cluster", why="choose the next node")


class Visit:
    """Takes an attempt to its node, and takes in how that went."""

    def __init__(self, attempt: AttemptId, context: Context, interval: float) -> None:
        self._rotation = rotation_of(attempt.module, attempt.routine, context)
        self._context, self._interval = context, interval
        self._node, self._well = "", False

    async def begin(self, placement: Placement, deadline: float) -> Placement:
        """Return the placement on the next node; raise Refused, or Failed if no node is usable."""
        self._rotation.begin()
        await self._context.cluster.watches.see((POD,), deadline)
        self._node = await next_node(self._rotation, self._context, placement, deadline)
        return replace(placement, node=self._node)

    def created(self) -> None:
        """Take in that a pod was created for the node."""
        self._rotation.visited(self._node)

    def well(self) -> None:
        """Take in that the pod did what it should; if its removal succeeds too, the node is well."""
        self._well = True

    def removed(self) -> None:
        """Take in that the pod was removed as it should be."""
        if self._well:
            self._rotation.succeeded(self._node)

    @contextmanager
    def judging(self, record: Callable[[Recorded], None]) -> Iterator[None]:
        """Raise a failure as the node's alone, if it is; record what is known of all nodes in any case."""
        try:
            yield
        except Failed as failed:
            raise self._judged(failed) from failed
        finally:
            record(Reading(FAILING, len(self._rotation.failing)))
            record(Remark("round", self._rotation.round(self._interval)))
            failing = bool(self._rotation.failing)
            record(Remark("failing nodes", self._rotation.told_failing(), failing=failing))

    def _judged(self, failed: Failed) -> Failed:
        """Return a failure as the node's alone, if the latest pod on another node succeeded.

        A disk that fails is storage's to mend, on however many nodes; it is found again on the same node all the same.
        """
        if failed.reason is Reason.NO_NODE:
            self._rotation.refused(self._node)
        elif failed.reason in {Reason.DISRUPTED, Reason.NODES_NOT_READY}:
            self._rotation.outdate()
        failure = failed.reason.result is Result.FAILURE and failed.reason not in SHARED
        if not failure or failed.component not in {Component.NODE, Component.STORAGE}:
            return failed
        self._rotation.failed(self._node, failed.reason)
        known = failed.reason is Reason.ONE_NODE or not self._rotation.well_elsewhere(self._node)
        if failed.component is not Component.NODE or known:
            return failed
        note = alone(failed.reason, self._node, failed.note)
        return Failed(Reason.ONE_NODE, note, failed.evidence, step=failed.step, settled=failed.settled)
