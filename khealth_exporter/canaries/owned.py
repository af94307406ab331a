"""One object that an attempt creates, from before it is written until it is gone."""

import asyncio
from collections.abc import Mapping
from typing import Generic, TypeVar

from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.client.lookup import decoded
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.objects import KubernetesObject
from khealth_exporter.cluster.ownership import Ownership
from khealth_exporter.cluster.watch.subscription import Line, Signal
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Lag, Moment
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.measure.trace import Trace, Way
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.step import Step

T = TypeVar("T", bound=KubernetesObject)

CONFIRMING = (0.0, 0.5, 1.5)
"""Seconds before each look for what an unanswered write may have created: its request may still be in progress."""


class Owned(Generic[T]):
    """One object of an attempt: written, found again if the write got no answer, and deleted.

    A kind that is `watched` is followed on its shared watch, and `changed` fires after each change; with a `way`, its
    milestones are kept. Otherwise the object counts as gone once the API server has answered its deletion.
    """

    def __init__(  # noqa: PLR0913 - two of them are choices
        self, kind: Kind[T], ownership: Ownership, context: Context, changed: Signal, *,
        watched: bool = True, way: Way[T] | None = None,
    ) -> None:  # fmt: skip
        self.kind, self.ownership, self.changed = kind, ownership, changed
        self._context, self._cluster, self._clock = context, context.cluster, context.clock
        self._lines = self._cluster.watches.of(kind).subscribe(ownership.key, changed) if watched else None
        self.item: T | None = None
        """The object as it was seen last."""
        self._way = way
        self.trace: Trace[T] | None = None
        """Its milestones, as soon as the watch has shown it."""
        self.made: T | None = None
        """The object as the API server created it."""
        self.manifest: Mapping[str, object] = {}
        """What was sent to create it."""
        self.gone = False
        """Whether it was removed."""
        self.shown = not watched
        """Whether the watch has shown it."""
        self.begun = False
        """Whether a write may have created it."""
        self.asked: Moment | None = None
        """When its deletion was requested."""
        self.told = self._clock.now()
        """When the API server answered that, in monotonic seconds."""
        self.answered = Moment(self._clock.now())
        """When the write was answered."""
        self.began = self.sent = self.answered.at
        """When the attempt began, and when the write was sent that was answered, in monotonic seconds."""
        self._lag = Lag()
        self._first_asked: float | None = None
        self._delete: tuple[float, float] | None = None
        """When the delete was sent and answered, until the watch shows it."""
        self._cluster.active.add(ownership.key)

    def close(self) -> None:
        """End the attempt's claim: what is left of it may be swept."""
        self._cluster.active.discard(self.ownership.key)
        if self.begun and not self.gone:
            self._cluster.suspects.add(self.kind)
        if self._lines:
            self._lines.close()

    @property
    def known(self) -> T:
        """The object as it was seen last; LookupError before it was created."""
        if self.item is None:
            raise LookupError(f"{self.kind.name} {self.ownership.name} was not created")
        return self.item

    @property
    def taken(self) -> bool:
        """Whether it is gone or being deleted, and khealth has not asked for that."""
        return self.asked is None and (self.gone or (self.item is not None and self.item.leaving))

    @property
    def ruler(self) -> Ruler:
        """What measures by the lag that khealth's own writes have shown."""
        return Ruler(self._context.measurement, self._lag.or_worse(Lag(possible=self._context.lags.possible)))

    def update(self) -> None:
        """Take in what the watch has shown."""
        for line in self._lines.drain() if self._lines else ():
            if line.object.name != self.ownership.name:
                continue  # Another object of the attempt.
            self.item, self.gone = line.object, line.type == "DELETED"
            if self._way:
                self.trace = self.trace or Trace(self._way, line.object)
                self.trace.take(line.object, Moment(line.at, line.delay, line.recovered), removed=self.gone)
            if not self.shown:
                self._note(self.sent, self.answered.at, line)
            elif self._delete and line.object.leaving:
                self._note(*self._delete, line)
                self._delete = None
            self.shown = True

    def _note(self, sent: float, answered: float, line: Line[T]) -> None:
        """Take note of how late the watch showed a write of this object."""
        if not line.recovered:
            lag = Lag.of_write(sent, answered, line.at)
            self._lag = self._lag.or_worse(lag)
            self._context.lags.note(lag)
            self._cluster.telemetry.watch_lag(lag.certain)

    async def create(self, manifest: Mapping[str, object], deadline: float, step: Step) -> Measurement:
        """Create the object, and return how long the API server took.

        Raise Refused, or Failed(api_error) if the answer is no object: it may have been created all the same.
        """
        await self._cluster.check_deletable(self.kind, self.ownership.name, deadline)
        self.changed.flush()  # Its watches are attentive from now on.
        self.begun, self.manifest = True, manifest
        self.sent = self._clock.now()
        try:
            answer = await self._cluster.create(self.kind, manifest, deadline)
        except Refused as refused:
            self.begun = refused.unanswered
            if not refused.refusal.exists:
                raise
            return await self._created_before(refused, deadline, step)
        self.sent, self.answered = answer.sent, Moment(answer.answered, answer.delay)
        self.made = decoded(self.kind, answer)
        self.item = self.item or self.made
        return self.measured(step, answer)

    def measured(self, step: Step, answer: Answer) -> Measurement:
        """Return how long a request about the object took, with the number of its tries."""
        return self.ruler.answer(step, answer.sent, answer.answered, delay=answer.delay, tries=answer.tries)

    async def _created_before(self, refused: Refused, deadline: float, step: Step) -> Measurement:
        """Return the measurement of a create whose earlier try went through unanswered; raise Refused otherwise."""
        now = self._clock.now()
        self.made = await self.refresh(deadline)
        if not self.made:
            raise refused  # The name is taken by another object.
        self.begun = True
        self.answered = Moment(now, now - self.sent)
        return self.ruler.measure(step, Moment(self.sent), self.answered)

    async def patch(self, changes: Mapping[str, object], deadline: float) -> Answer:
        """Merge changes into the object, and return the answer; raise Refused, missing if another client deleted it."""
        answer = await self._cluster.patch(self.kind, self.ownership.name, changes, deadline)
        self.made = decoded(self.kind, answer)
        return answer

    async def refresh(self, deadline: float) -> T | None:
        """Ask the API server for the object, and return it as it was seen last; None if it never was; raise Refused.

        Another object may have its name: only what carries the attempt's labels is the attempt's.
        """
        found = await self._cluster.get(self.kind, self.ownership.name, deadline)
        self.item = found if found and self.ownership.marks(found) else self.item
        return self.item

    async def find(self, deadline: float) -> T | None:
        """Return the object to delete; None if it is gone.

        After an unanswered write, ask for it several times; raise Refused.
        """
        if self.gone and self.taken and self.made:
            # Its watch selects by labels: one that another client has given others looks as if it were gone.
            found = await self._cluster.get(self.kind, self.ownership.name, deadline)
            return found if found and found.uid == self.made.uid else None
        if self.item or self.gone:
            return None if self.gone else self.item
        for pause in CONFIRMING:
            await asyncio.sleep(pause)
            if found := await self.refresh(deadline):
                return found
        self.gone = True
        return None

    async def delete(self, deadline: float, *, policy: str | None = None) -> Answer | None:
        """Delete the object; None if it was gone already; raise Refused.

        Its dependents go by its kind's propagation policy, unless another one is given.

        A delete that had to be repeated may have been done at any time since the first try.
        """
        target = await self.find(deadline)
        if target is None or self.asked:
            return None
        self.changed.flush()
        now = self._clock.now()
        first = self._first_asked = self._first_asked or now
        answer = await self._cluster.delete(self.kind, target, deadline, policy=policy)
        self.told = self._clock.now()
        if answer and answer.tries == 1 and first == now:
            self.asked = Moment(answer.sent)
            self._delete = answer.sent, answer.answered
        else:
            self.asked = Moment(first, self._clock.now() - first)
        self.gone = self.gone or self._lines is None
        return answer

    async def release(self, deadline: float) -> None:
        """Delete the object without its dependents' garbage collection; raise Refused.

        The second delete, in the background, removes the finalizer of a foreground deletion: the object goes even if
        the controller manager is dead.
        """
        if self.item and not self.gone:
            await self._cluster.delete(self.kind, self.item, deadline, policy="Background")
