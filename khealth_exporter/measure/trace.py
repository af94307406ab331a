"""Trace: what a watch showed of one object, as milestones; and the spans between them, as measured steps."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.step import Step

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """A step between two milestones. `begins` are alternatives: the first one that was reached counts."""

    step: Step
    begins: tuple[str, ...]
    end: str


@dataclass(frozen=True, slots=True)
class Way(Generic[T]):
    """The way of a kind of objects: its milestones in order, the last one being its removal, and its spans.

    `reached` yields the milestones that an object's present state shows; a word that is no milestone is kept as well.
    """

    milestones: tuple[str, ...]
    spans: tuple[Span, ...]
    reached: Callable[[T], Iterable[str]] = field(compare=False)

    @property
    def created(self) -> str:
        """The first milestone."""
        return self.milestones[0]

    @property
    def removed(self) -> str:
        """The last milestone."""
        return self.milestones[-1]


class Trace(Generic[T]):
    """One object's moments on its way, as its watch shows them."""

    def __init__(self, way: Way[T], item: T, moments: Mapping[str, Moment] | None = None) -> None:
        self.way, self.item = way, item
        self.moments: dict[str, Moment] = dict(moments or {})

    @property
    def gone(self) -> bool:
        """Whether the object was removed."""
        return self.way.removed in self.moments

    @property
    def progress(self) -> int:
        """How many milestones it reached, those that were never shown included."""
        reached = [index for index, name in enumerate(self.way.milestones[:-1], 1) if name in self.moments]
        return max(reached, default=0)

    def take(self, item: T, moment: Moment, *, removed: bool) -> None:
        """Take in what one line of the watch shows."""
        self.item = item
        for name in (self.way.created, self.way.removed) if removed else self.way.reached(item):
            if name not in self.moments:
                self.moments[name] = moment

    def behind(self, item: T) -> bool:
        """Tell whether the API server says that the object is further on than the watch showed; removed is furthest."""
        return not self.gone and any(name not in self.moments for name in self.way.reached(item))

    def spans(self, ruler: Ruler, deadline: Moment | None = None) -> Iterator[Measurement]:
        """Yield the steps that have ended.

        With a deadline, the step that begins at the last milestone reached is stuck: it counts with the time waited,
        and so does the SLI, which is the sum of other steps. Later steps get nothing.
        """
        for span in self.way.spans:
            begin = next((self.moments[name] for name in span.begins if name in self.moments), None)
            if begin is not None and span.end in self.moments:
                yield ruler.measure(span.step, begin, self.moments[span.end])
        if deadline is not None and not self.gone:
            yield from self._stuck(ruler, deadline)

    def _stuck(self, ruler: Ruler, deadline: Moment) -> Iterator[Measurement]:
        order = self.way.milestones
        last = max((name for name in order if name in self.moments), key=order.index, default=None)
        open_spans = [span for span in self.way.spans if span.end not in self.moments]
        stuck = next((span for span in open_spans if not span.step.sli and span.begins[0] == last), None)
        if stuck is None:
            return
        for span in (stuck, *(span for span in open_spans if span.step.sli)):
            begin = next((self.moments[name] for name in span.begins if name in self.moments), None)
            if begin is not None:
                yield ruler.measure(span.step, begin, deadline, censored=True)

    def frozen(self) -> "Trace[T]":
        """Return a copy that later lines leave as it is."""
        return Trace(self.way, self.item, self.moments)
