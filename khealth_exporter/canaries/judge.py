"""What is said of one pod that is not where its attempt wants it. Pure: no I/O, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from khealth_exporter.canaries.aim import Aim
from khealth_exporter.canaries.diagnosis import Finding, not_ready
from khealth_exporter.canaries.excess import Lateness, excuses, unexplained
from khealth_exporter.canaries.facts import Facts
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.sample import Measurement

_USUAL = 1.0
"""Seconds that a canary usually takes for what it does once it runs."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the pods of one attempt by its aim, and by what was found out; with `lateness`, its deadline has come."""

    aim: Aim
    facts: Facts
    ruler: Ruler
    now: Moment
    lateness: Lateness | None = None

    def finding(self, trace: Trace[Pod], measured: Sequence[Measurement]) -> Finding:
        """Return what is said of a pod; of one that is late, by the step that used up its time."""
        late = self._late(trace)
        found = late or not_ready(trace, self.facts.nodes, self.facts.pulling)
        lateness = self.lateness
        if lateness and unexplained(trace.item):
            steps, pinned = list(measured), bool(self.facts.nodes.only)
            if late:
                # It may be late only because the canary started late.
                lateness = replace(lateness, usual={**lateness.usual, late.step: _USUAL})
                steps.append(self.ruler.measure(late.step, trace.moments["started"], self.now, censored=True))
            found = lateness.judged(found, trace.item.name, steps, excuses(trace, self.now.at, pinned=pinned))
        return self.aim.refined(found, trace, self.facts.events)

    def _late(self, trace: Trace[Pod]) -> Finding | None:
        pod = trace.item
        runs = "started" in trace.moments and not (pod.ended or pod.leaving or trace.gone)
        # Of a pod whose kubelet is silent, nobody tells that it has ended.
        explained = self.facts.nodes.disrupts(trace) or self.facts.nodes.silent(trace)
        return self.aim.late(trace) if self.lateness and runs and not explained else None
