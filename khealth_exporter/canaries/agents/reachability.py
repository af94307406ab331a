"""Who is to blame for round trips that are lost or slow: a node, the network, or an API server. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

from khealth_exporter.canaries.agents.round_trips import LARGE, POD_API, POD_POD, POD_SERVICE, Asked, Trip
from khealth_exporter.cluster.errors import clean
from khealth_exporter.core.agents import Silence
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Evidence, Failed

_AGAIN = 200
"""Pairs that are asked about again, the worst ones."""
_NAMED = 3
"""Pairs, or nodes, that a note names."""
_LINES = 30
"""Round trips that evidence shows."""
_SIGMA = 3.0
"""How many standard deviations lie between a limit and what chance alone would lose."""

WayName = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as slow: a median round trip in seconds, and the share of round trips that is lost."""

    slow: float
    loss: float

    def late(self, trip: Trip) -> bool:
        """Tell whether round trips took too long whatever the agent's own part in it; only TCP's are the kernels'."""
        found = trip.figures
        return trip.target.protocol == "tcp" and trip.answered and found.median - found.uncertainty > self.slow

    def leaky(self, trips: Iterable[Trip]) -> bool:
        """Tell whether more was lost than chance explains where the loss is at its limit."""
        counted = [trip.figures for trip in trips]
        sent, lost = sum(one.sent for one in counted), sum(one.lost for one in counted)
        return lost > self.loss * sent + _SIGMA * sqrt(self.loss * (1 - self.loss) * sent)


def suspects(trips: Iterable[Trip], limits: Limits) -> list[Trip]:
    """Return the trips to repeat, the worst first: what happens once may be chance."""
    found = [trip for trip in trips if (trip.figures.lost and not trip.too_large) or limits.late(trip)]
    found.sort(key=lambda trip: (trip.lost, trip.figures.lost, trip.figures.median), reverse=True)
    pairs = list(dict.fromkeys(trip.pair for trip in found))[:_AGAIN]
    return [trip for trip in found if trip.pair in set(pairs)]


@dataclass(slots=True)
class Judgement:
    """What two questions say: the first one about all pairs, the second one about those that it made suspect.

    The second one also goes the other way, to find out whether one direction fails alone. A pair says nothing if one of
    its agents is silent, as that may have died, and why it is silent is known; nor does it if an agent had no CPU. But
    what goes to an agent counts if khealth alone does not reach it: others do, so it lives.
    """

    first: Asked
    again: Asked
    limits: Limits
    failing: set[WayName] = field(default_factory=set)
    """The pairs at fault, once `failure` was called."""

    def failure(self) -> Failed | None:
        """Return what is to blame, and what is worst of it; None if all is well."""
        broken = self._pods() or self._api() or self._service()
        why = _silence((*self.first.silent, *self.again.silent))
        dead = why if why and why.reason.result is Result.FAILURE else None
        return broken or dead or self._large() or self._slow() or why or self._starved()

    def _measured(self, step: Step) -> list[Trip]:
        """Return the trips of a step that say something of the network: between agents that can be heard, or are alive.

        The latter must have lost nothing of another agent: one that is overloaded loses by chance. One that nobody else
        measured was reached by those that were asked why it is silent; but it is the kernel that answers TCP.
        """
        unheard = self._unheard
        told = [trip for trip in self.first.trips if trip.target.step is step and trip.source not in unheard]
        tried, alive = Counter(map(_end, told)), self._alive()
        well = {_end(trip) for trip in told if trip.answered and not trip.figures.lost}

        def counts(trip: Trip) -> bool:
            node, protocol = _end(trip)
            alone = tried[node, protocol] == 1 and protocol == "tcp" and alive.get(node, False)
            return node not in unheard or (node in alive and ((node, protocol) in well or alone))

        return [trip for trip in told if counts(trip)]

    @property
    def _unheard(self) -> set[str]:
        return self.first.unheard | self.again.unheard

    def _alive(self) -> Mapping[str, bool]:
        """Return the nodes whose agents are silent for khealth alone, and whether others were asked for them."""
        silent = (*self.first.silent, *self.again.silent)
        others = {one.agent.node for one in silent if one.why.reason is not Reason.AGENT_UNREACHABLE}
        others |= self.first.starved | self.again.starved
        found = {one.agent.node for one in silent} - others
        return {node: all(one.reached for one in silent if one.agent.node == node) for node in found}

    def _down(self, trips: Iterable[Trip]) -> list[Trip]:
        """Return the trips of which nothing came back, and nothing again."""
        repeated = {trip.key: trip for trip in self.again.trips}
        return [trip for trip in trips if trip.lost and repeated.get(trip.key, trip).lost]

    def _pods(self) -> Failed | None:
        measured = self._measured(POD_POD)
        down = self._down(measured)
        if not down:
            return None
        pairs = self._fail(down)
        if len(down) == len(measured):
            note = f"no pod reaches a pod on another node: all {len(pairs)} pairs fail"
            return self._failed(Reason.NETWORK_UNREACHABLE, note, down)
        how = self._how(down, measured)
        if node := _shared(pairs, {trip.pair for trip in measured}):
            note = f"{Reason.NETWORK_UNREACHABLE}: {how}: {_named(pairs)}; all with {node}, and others are healthy"
            return self._failed(Reason.ONE_NODE, note, down)
        return self._failed(Reason.NETWORK_UNREACHABLE, f"{how}: {_named(pairs)}", down)

    def _how(self, down: Collection[Trip], measured: Iterable[Trip]) -> str:
        """Return what fails: a protocol alone, a direction alone."""
        pairs, keys = {trip.pair for trip in down}, [trip.key for trip in down]
        failing = {trip.target.protocol for trip in down}
        others = {trip.target.protocol for trip in measured if trip.pair in pairs} - failing
        what = f"{' and '.join(sorted(failing)).upper()} only" if others else "pods do not reach pods"
        back = {trip.key for trip in self.again.trips if trip.answered}
        one_way = all((step, target, source, protocol) in back for step, source, target, protocol in keys)
        return f"{what}, in one direction only" if one_way else what

    def _api(self) -> Failed | None:
        measured = self._measured(POD_API)
        down = self._down(measured)
        asked, failing = _sources(measured), _sources(down)
        dead = {name for name, nodes in failing.items() if nodes == asked[name]}
        if dead and dead == set(asked):
            note = "no pod reaches the API server, which answers khealth"
            return self._failed(Reason.NETWORK_UNREACHABLE, note, down)
        if some := [trip for trip in down if trip.target.name not in dead]:
            return self._from_nodes(some, measured, "the API server")
        if dead:
            note = f"no agent reaches {len(dead)} of {len(asked)} API server addresses: {listed(sorted(dead))}"
            return self._failed(Reason.ONE_API_SERVER, note, down)
        return None

    def _service(self) -> Failed | None:
        measured = self._measured(POD_SERVICE)
        down = self._down(measured)
        return self._from_nodes(down, measured, "the Service `kubernetes`") if down else None

    def _from_nodes(self, down: Collection[Trip], measured: Iterable[Trip], what: str) -> Failed:
        """Return what it means that a target is out of reach of some nodes, or of all."""
        nodes, asked = sorted({trip.source for trip in down}), {trip.source for trip in measured}
        if len(nodes) == 1 < len(asked):
            note = f"{Reason.NETWORK_UNREACHABLE}: pods on {nodes[0]} do not reach {what}, pods on other nodes do"
            return self._failed(Reason.ONE_NODE, note, down)
        some = f"pods on {listed(nodes)} do" if len(nodes) < len(asked) else "pods on all nodes do"
        return self._failed(Reason.NETWORK_UNREACHABLE, f"{some} not reach {what}", down)

    def _large(self) -> Failed | None:
        """Return whether large datagrams vanish where small ones do not, and the sender is not told why."""
        measured = self._measured(LARGE)
        small = {trip.pair for trip in self._measured(POD_POD) if trip.target.protocol == "udp" and trip.answered}
        down = [trip for trip in self._down(measured) if trip.pair in small]
        if not down:
            return None
        pairs, every = self._fail(down), {trip.pair for trip in measured}
        node = _shared(pairs, every)
        told = f"{len(pairs)} of {len(every)} pairs lose datagrams of {down[0].target.size} bytes, and no small ones"
        note = f"{told}: {_named(pairs)}{f'; all with {node}' if node else ''}"
        return self._failed(Reason.MTU_BLACK_HOLE, note, down)

    def _slow(self) -> Failed | None:
        """Return what takes too long or loses too much, both times."""
        measured = [trip for step in (POD_POD, POD_SERVICE, POD_API) for trip in self._measured(step)]
        # An agent that is overloaded is slow, and loses some.
        measured = [trip for trip in measured if trip.target.name not in self._unheard]
        repeated = {trip.key: trip for trip in self.again.trips}
        late = [
            trip for trip in measured
            if self.limits.late(trip) and trip.key in repeated and self.limits.late(repeated[trip.key])
        ]  # fmt: skip
        if late:
            worst = max(late, key=lambda trip: trip.figures.median)
            limit = f"{self.limits.slow * 1000:g} ms"
            note = f"a round trip takes {worst.figures.median * 1000:.0f} ms, and at most {limit} are allowed"
            return self._failed(Reason.NETWORK_SLOW, f"{note}: {_named(self._fail(late))}", late)
        return self._leaky([trip for trip in measured if trip.target.step is POD_POD], repeated)

    def _leaky(self, measured: Sequence[Trip], repeated: Mapping[tuple[str, str, str, str], Trip]) -> Failed | None:
        again: defaultdict[WayName, list[Trip]] = defaultdict(list)
        for trip in measured:
            if trip.key in repeated:
                again[trip.pair].append(repeated[trip.key])
        leaky = [trip for trips in again.values() if self.limits.leaky(trips) for trip in trips]
        all_again = [trip for trips in again.values() for trip in trips]
        if not leaky and self.limits.leaky(measured) and self.limits.leaky(all_again):
            leaky = all_again
        if not leaky:
            return None
        sent, lost = sum(trip.figures.sent for trip in leaky), sum(trip.figures.lost for trip in leaky)
        note = f"{lost} of {sent} round trips are lost, and at most {self.limits.loss:.0%} are allowed"
        return self._failed(Reason.NETWORK_SLOW, f"{note}: {_named(self._fail(leaky))}", leaky)

    def _starved(self) -> Failed | None:
        """Return that nothing is known if every agent waited for a CPU while its round trips were under way."""
        if self.first.starved and not self.first.trips:
            return Failed(Reason.PROBER_STARVED, "every agent had to wait for a CPU: what it lost says nothing")
        return None

    def _fail(self, trips: Iterable[Trip]) -> list[WayName]:
        pairs = sorted({trip.pair for trip in trips})
        self.failing.update(pairs)
        return pairs

    def _failed(self, reason: Reason, note: str, trips: Collection[Trip]) -> Failed:
        """Return a failure of the earliest step of these trips, with both answers as evidence."""
        repeated = {trip.key: trip for trip in self.again.trips}
        shown = [line for trip in trips for line in (str(trip), f"again: {repeated.get(trip.key, 'not asked')}")]
        more = [f"{len(trips) - _LINES // 2} more"] if len(trips) > _LINES // 2 else []
        lines = tuple(map(clean, (*shown[:_LINES], *more)))
        step = next(iter(trips)).target.step
        return Failed(reason, clean(note), (Evidence("Network", step.name, lines),), step=step)


def _silence(silent: Sequence[Silence]) -> Failed | None:
    """Return why agents are silent: a failure of the cluster first, and of several reasons the most frequent one."""
    whys = {one.agent.node: one.why for one in silent}
    if not whys:
        return None
    counted = Counter(why.reason for why in whys.values())
    worst = max(whys.values(), key=lambda why: (why.reason.result is Result.FAILURE, counted[why.reason]))
    if len(whys) == 1:
        return worst
    note = f"agents on {listed(sorted(whys))} do not answer: {worst.note}"
    return Failed(worst.reason, clean(note), worst.evidence, step=worst.step or POD_POD)


def _end(trip: Trip) -> tuple[str, str]:
    """Return where a trip turns, and how it gets there."""
    return trip.target.name, trip.target.protocol


def _sources(trips: Iterable[Trip]) -> Mapping[str, set[str]]:
    """Return the nodes from which each target was tried."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for trip in trips:
        found[trip.target.name].add(trip.source)
    return found


def _shared(failing: Collection[WayName], every: Iterable[WayName]) -> str:
    """Return the one node that all failing pairs have in common, if pairs without it are well; else nothing."""
    shared = set.intersection(*(set(pair) for pair in failing))
    if len(shared) != 1:
        return ""
    (node,) = shared
    return node if any(node not in pair for pair in every) else ""


def _named(pairs: Sequence[WayName]) -> str:
    return listed([f"{source} → {target}" for source, target in pairs])


def listed(names: Sequence[str]) -> str:
    """Return some names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
