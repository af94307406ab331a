"""Protocol kuberhealthy: a check made for Kuberhealthy, of either major version, reports over HTTP."""

from collections.abc import Mapping

from khealth_exporter.canaries.checks.endings import failed, over
from khealth_exporter.canaries.checks.protocol import Protocol, Run, Said
from khealth_exporter.canaries.evidence import of_pod
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.reports import Expected, Reports
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Evidence


class Kuberhealthy(Protocol):
    """The report is the verdict, whatever the exit code: the original's own checks exit with 0 or 1 after a failure.

    A pod that ends without a report is silent at once; the original waits for its time-out.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        if run.context.reports is None:
            raise LookupError("nothing receives reports")
        self._reports: Reports = run.context.reports
        self._reported = Signal()
        self._expected: Expected | None = None

    async def begin(self, deadline: float) -> Mapping[str, str]:
        """Begin to await the report, and return what tells the check where to send it; raise Failed."""
        self._expected = await self._reports.expect(deadline, self._reported)
        return {**self._expected.environment, "KH_POD_NAMESPACE": self.run.context.cluster.identity.namespace}

    async def heard(self) -> None:
        """Return when the report is there."""
        await self._reported.until(lambda: self.spoke)

    def over(self, trace: Trace[Pod]) -> bool:
        """Tell whether all containers have ended: while one runs, it may report."""
        return over(trace, self.run.containers, one_failed=False)

    @property
    def spoke(self) -> bool:
        """Whether the report is there."""
        return self._expected is not None and self._expected.report is not None

    @property
    def refused(self) -> str:
        """Why the last report was not accepted; empty if none was sent."""
        refused = self._expected.refused if self._expected else ""
        return f"its last report was refused: {refused}" if refused else ""

    async def said(self, trace: Trace[Pod], deadline: float) -> Said:
        """Return what the report says; without one, that the check was silent."""
        del deadline
        pod, expected = trace.item, self._expected
        if expected is None or expected.report is None:
            return Said(Reason.CHECK_SILENT, clean(self._silence(pod)), evidence=(of_pod(trace),))
        if expected.report.ok:
            return Said()
        first, *others = expected.report.errors
        note = f"{first} (and {len(others)} more)" if others else first
        told = Evidence("Report", pod.name, tuple(expected.report.errors))
        return Said(Reason.CHECK_FAILED, clean(note), evidence=(told, of_pod(trace)))

    def close(self) -> None:
        """Await nothing more."""
        if self._expected:
            self._reports.forget(self._expected)

    def _silence(self, pod: Pod) -> str:
        ends = ", ".join(f"{name} with code {end.exit_code}" for name, end in failed(pod, self.run.containers).items())
        note = f"{pod.name} ended without a report{f': {ends}' if ends else ''}"
        return "; ".join(filter(None, (note, self.refused)))
