"""What answers blame: DNS, one of its pods, the way to its Service, or one node. Pure: no I/O, no clock."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from khealth_exporter.canaries.dns.questions import PROPAGATE, RESOLVE, SERVER, SERVICE, STEPS, TCP, Answer, Grade
from khealth_exporter.canaries.dns.servers import Server, Servers
from khealth_exporter.core.agents import Agent, Silence
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Evidence, Failed

_LINES = 20
"""Answers that the evidence quotes."""
_SHOWN = 8
"""DNS pods that a remark names, the worst ones."""
_UNPROGRAMMED = "the DNS pods answer, and their Service does not"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What all answers say: to be judged once, when the last of them is there."""

    answers: Sequence[Answer]
    servers: Servers
    silent: Sequence[Silence] = ()
    """The agents that did not answer khealth."""
    unreached: bool = False
    """Whether no agent can connect to a DNS pod, and some could before."""
    down: Collection[str] = ()
    """The nodes that are not Ready."""

    def failure(self) -> Failed | None:
        """Return what the answers blame; None if nothing that a pod needs has failed.

        A DNS pod that fails alone is a ticket, and so is a node. DNS pods that no agent reaches at their own addresses,
        while the Service works, are none: a NetworkPolicy may want it so.
        """
        if all(answer.grade is Grade.OPEN for answer in self.answers):
            return Failed(Reason.PROBER_STARVED, "no agent had the time to ask the DNS")
        failing = [answer for answer in self._way if answer.failed]
        bad, good = self.bad, self.good
        if self._dead:
            return self._all_dead(failing)
        if bad and (failed := self._cut_off(bad)):
            return failed
        if bad and good:
            return self._one_server(bad)
        if failing:
            return self._some_fail(failing)
        reached = [a for a in self.answers if a.question.direct and a.failed and a.grade is not Grade.SILENT]
        return _failed(_reason(reached), "every DNS pod", reached) if bad and reached else None

    @property
    def mute(self) -> bool:
        """Whether no DNS pod said anything at all, although the API server says that they are ready."""
        asked = [answer for answer in self.answers if answer.grade is not Grade.OPEN]
        direct = any(answer.question.direct for answer in asked)
        silent = all(answer.grade is Grade.SILENT and not answer.refused for answer in asked)
        return direct and silent and not self.servers.none

    @property
    def crossed(self) -> bool:
        """Whether a DNS pod answered an agent on another node at its own address."""
        nodes = {server.address: server.node for server in self.servers.ready or ()}
        right = (a for a in self.answers if a.question.direct and a.grade is Grade.RIGHT)
        return any(answer.agent.node != nodes.get(answer.question.server) for answer in right)

    @property
    def bad(self) -> tuple[Server, ...]:
        """The DNS pods that answer some question to no agent as they should."""
        return tuple(s for s in (self.servers.ready or ()) if any(not right for right in self._answered_by(s)))

    @property
    def good(self) -> tuple[Server, ...]:
        """The DNS pods that answer every question to some agent as they should."""
        found = ((server, list(self._answered_by(server))) for server in (self.servers.ready or ()))
        return tuple(server for server, rights in found if rights and all(rights))

    def remark(self) -> Remark:
        """Return what is known of the DNS pods."""
        found, bad = self.servers, self.bad
        if found.ready is None:
            return Remark("DNS pods", "khealth does not know them, and asked none at its own address")
        count = f"{len(found.ready)} of {len(found.ready) + len(found.unready)} are ready"
        if not bad:
            return Remark("DNS pods", count, failing=found.none)
        asked = [answer for answer in self.answers if answer.question.direct]
        if not self.good and all(answer.grade is Grade.SILENT for answer in asked) and not self._dead:
            text = "no agent reaches one at its own address, but the Service works: is there a NetworkPolicy?"
            return Remark("DNS pods", f"{count}; {text}")
        return Remark("DNS pods", f"{count}; failing: {', '.join(map(str, bad))}", failing=True)

    def by_server(self) -> Remark:
        """Return what agents got from each DNS pod, asked for the cluster's own name; failing and slow ones first."""
        asked: defaultdict[str, list[Answer]] = defaultdict(list)
        for answer in self.answers:
            if answer.question.step is SERVER and answer.grade is not Grade.OPEN:
                asked[answer.question.server].append(answer)
        found = [(server, asked[server.address]) for server in self.servers.ready or () if asked[server.address]]
        found.sort(
            key=lambda one: (sum(answer.failed for answer in one[1]) / len(one[1]), _median(one[1])), reverse=True
        )
        told = [f"{server}: {_share(answers)}" for server, answers in found[:_SHOWN]]
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        return Remark("By DNS pod", "; ".join((*told, *more)) or "none was asked at its own address")

    @property
    def _way(self) -> list[Answer]:
        """The answers that came as pods get them, and not from one DNS pod."""
        return [answer for answer in self.answers if not answer.question.direct]

    @property
    def _dead(self) -> bool:
        """Whether no agent got the cluster's own name in any way that pods use."""
        own = [a.grade for a in self._way if a.question.step in {RESOLVE, SERVICE, TCP} and a.grade is not Grade.OPEN]
        return bool(own) and Grade.RIGHT not in own

    def _answered_by(self, server: Server) -> Iterator[bool]:
        """Yield for each question that a DNS pod was asked whether any agent got the right answer.

        Agents on its own node count only if there are no others: they reach it even if nobody else does.
        """
        asked = [a for a in self.answers if a.question.direct and a.question.server == server.address]
        asked = [answer for answer in asked if answer.grade is not Grade.OPEN]
        asked = [answer for answer in asked if answer.agent.node != server.node] or asked
        for step in dict.fromkeys(answer.question.step for answer in asked):
            yield any(answer.grade is Grade.RIGHT for answer in asked if answer.question.step is step)

    def _all_dead(self, failing: Sequence[Answer]) -> Failed:
        pods = self.servers.ready or self.servers.unready
        if pods and {server.node for server in pods} <= set(self.down):
            note = f"all DNS pods are on nodes that are not Ready: {', '.join(map(str, pods[:_SHOWN]))}"
            return _failed(Reason.KUBELET_SILENT, note, failing)
        if self.servers.none:
            waiting = f"; {len(self.servers.unready)} are not ready" if self.servers.unready else ""
            return _failed(Reason.DNS_FAILED, f"the DNS Service has no endpoints{waiting}", failing)
        if self.good and all(answer.grade is Grade.SILENT for answer in failing):
            return _failed(Reason.SERVICE_NOT_PROGRAMMED, _UNPROGRAMMED, failing)
        if self.mute and self.unreached:
            note = f"DNS pods are ready, and no agent can connect to one: {', '.join(map(str, pods[:_SHOWN]))}"
            return _failed(Reason.NETWORK_UNREACHABLE, note, failing)
        return _failed(_reason(failing), "no agent gets the cluster's own name", failing)

    def _cut_off(self, bad: Sequence[Server]) -> Failed | None:
        """Return what it means that DNS pods are only out of reach: it is not theirs.

        Either agents on their own nodes are answered, or such an agent is silent too, and why it is says the rest.
        """
        names = {server.address: server for server in bad}
        asked = [a for a in self.answers if a.question.direct and a.question.server in names]
        failing = [answer for answer in asked if answer.failed]
        nodes = {server.node for server in bad}
        whys = {silence.agent.node: silence.why for silence in self.silent if silence.agent.node in nodes}
        if any(answer.grade is not Grade.SILENT for answer in failing):
            return None
        if nodes <= whys.keys():
            return whys[bad[0].node]
        near = [answer for answer in asked if answer.agent.node == names[answer.question.server].node]
        if {answer.question.server for answer in near} < names.keys() or any(answer.failed for answer in near):
            return None
        note = f"{', '.join(map(str, bad))}: pods on other nodes get no answer, and those on its own node do"
        if len(nodes) == 1 and self._well_without(nodes):
            return _failed(Reason.ONE_NODE, f"{Reason.NETWORK_UNREACHABLE}: {note}", failing)
        return _failed(Reason.NETWORK_UNREACHABLE, note, failing)

    def _well_without(self, nodes: Collection[str]) -> bool:
        """Tell whether an agent on another node gets an answer from a DNS pod on a third one."""
        where = {server.address: server.node for server in self.servers.ready or ()}
        pairs = (
            (answer.agent.node, where.get(answer.question.server, ""))
            for answer in self.answers
            if answer.question.direct and answer.grade is Grade.RIGHT
        )
        return any(source != target and not {source, target} & set(nodes) for source, target in pairs)

    def _one_server(self, bad: Sequence[Server]) -> Failed:
        addresses = {server.address for server in bad}
        answers = [a for a in self.answers if a.question.direct and a.failed and a.question.server in addresses]
        names = ", ".join(map(str, bad))
        count = f"{len(bad)} of {len(self.servers.ready or ())} DNS pods do not answer as they should: {names}"
        return _failed(Reason.ONE_DNS_SERVER, count, answers)

    def _some_fail(self, failing: Sequence[Answer]) -> Failed:
        why = Reason.SERVICE_NOT_PROGRAMMED if self._not_programmed(failing) else _reason(failing)
        if node := self._one_node(failing):
            return _failed(Reason.ONE_NODE, f"{why} on {node}; agents on other nodes are answered", failing)
        if why is Reason.SERVICE_NOT_PROGRAMMED:
            return _failed(why, _UNPROGRAMMED, failing)
        return _failed(why, self._share(failing), failing)

    def _one_node(self, failing: Sequence[Answer]) -> str:
        """Return the only node whose agents fail, if agents on another are answered."""
        nodes = {answer.agent.node for answer in failing}
        well = {answer.agent.node for answer in self._way if answer.grade is Grade.RIGHT} - nodes
        return next(iter(nodes)) if len(nodes) == 1 and well else ""

    def _not_programmed(self, failing: Sequence[Answer]) -> bool:
        """Tell whether agents that the Service does not answer are answered by DNS pods."""
        asked = {answer.question.step for answer in self._way}
        step = SERVICE if SERVICE in asked else RESOLVE
        silent = {_key(a.agent) for a in failing if a.grade is Grade.SILENT and a.question.step is step}
        direct = {_key(a.agent) for a in self.answers if a.question.direct and a.grade is Grade.RIGHT}
        return bool(silent) and silent <= direct

    def _share(self, failing: Sequence[Answer]) -> str:
        agents, all_agents = ({_key(a.agent) for a in some} for some in (failing, self._way))
        steps = sorted({answer.question.step for answer in failing}, key=STEPS.index)
        return f"{len(agents)} of {len(all_agents)} agents fail ({', '.join(step.name for step in steps)})"


def _median(answers: Iterable[Answer]) -> float:
    """Return the median duration of the right answers, in seconds; 0 without any."""
    return median([answer.seconds for answer in answers if not answer.failed] or [0.0])


def _share(answers: Sequence[Answer]) -> str:
    right = sum(not answer.failed for answer in answers)
    took = f", median {_median(answers) * 1000:.2f} ms" if right else ""
    return f"{right} of {len(answers)} answers are right{took}"


def _key(agent: Agent) -> str:
    return agent.uid


def _reason(failing: Iterable[Answer]) -> Reason:
    wrong = any(answer.grade is Grade.WRONG for answer in failing)
    return Reason.DNS_WRONG_ANSWER if wrong else Reason.DNS_FAILED


def _failed(reason: Reason, what: str, failing: Sequence[Answer]) -> Failed:
    ordered = sorted(failing, key=lambda answer: (answer.grade is not Grade.WRONG, STEPS.index(answer.question.step)))
    lines = tuple(str(answer) for answer in ordered[:_LINES])
    first = min((answer.question.step for answer in failing), key=STEPS.index, default=PROPAGATE)
    note = f"{what}: {ordered[0]}" if ordered else what
    return Failed(reason, note, (Evidence("DNS", "answers", lines),), step=first)
