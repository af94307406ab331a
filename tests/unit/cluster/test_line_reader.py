"""Lines of a watch: which of them has the time of its arrival, and which may be old news."""

import math

import pytest

from khealth_exporter.cluster.watch.line_reader import LONGEST_LINE, Broken, Continuity, LineSplitter
from khealth_exporter.measure.arrival import Arrival


def arrival(
    at: float = 10.0, *, spread: float = 0.25, late: bool = False, more: bool = False, queued: float = 0.125
) -> Arrival:
    """Bytes of which the first may have arrived earlier than the last."""
    return Arrival(at, None, stamped=True, spread=spread, late=late, more=more, queued=queued)


@pytest.mark.parametrize(
    ("data", "came", "early"),
    [
        (b"a\n", arrival(), [0.0]),
        (b"a\nb\n", arrival(), [0.125, 0.0]),
        (b"a\nb\n", arrival(late=True), [0.25, 0.0]),
        (b"a\nb\n", arrival(spread=0.0625), [0.0625, 0.0]),
        (b"a\nb", arrival(), [0.125]),
        (b"a\n", arrival(more=True), [0.125]),
        (b"a\n\nb\n", arrival(more=True), [0.125, 0.125]),
        (b"a", arrival(more=True), []),
    ],
)
def test_only_the_last_of_what_came_together_has_the_time_of_the_arrival(
    data: bytes, came: Arrival, early: list[float]
) -> None:
    """Be the last one a line, the beginning of a line, or what TLS cannot decrypt yet."""
    assert early == [waited for _, waited in LineSplitter().split(data, came)]


@pytest.mark.parametrize(("queued", "early"), [(0.125, 0.1875), (math.inf, 0.0625)])
def test_without_a_stamp_every_line_may_have_waited_for_the_reader(queued: float, early: float) -> None:
    """Beside what is known of the event loop; a wait that the kernel does not tell is left out."""
    came = Arrival(10.0, 0.0625, stamped=False, queued=queued)
    assert [early] * 2 == [waited for _, waited in LineSplitter().split(b"a\nb\n", came)]


def test_where_the_wait_is_unknown_all_since_the_last_arrival_counts() -> None:
    """An unknown bound is none."""
    assert [0.25, 0.0] == [waited for _, waited in LineSplitter().split(b"a\nb\n", arrival(queued=math.inf))]


def test_a_line_longer_than_any_object_is_garbage() -> None:
    """It does not fill the memory."""
    splitter = LineSplitter()
    assert not splitter.split(b"a" * LONGEST_LINE, arrival())
    with pytest.raises(Broken, match="garbled"):
        splitter.split(b"a", arrival())


def test_a_stream_that_goes_on_after_a_gap_shows_old_news_at_first() -> None:
    """Each may have happened at any time since the last news; a second later all is as it was."""
    continuity = Continuity(1.0)
    assert (0.0, False) == continuity.delay(arrival(2.0))
    continuity.resuming, continuity.opened = True, 10.0
    assert (8.5, True) == continuity.delay(arrival(10.5))
    assert (8.75, True) == continuity.delay(arrival(10.75))
    assert (0.0, False) == continuity.delay(arrival(11.0))
    assert (0.0, False) == continuity.delay(arrival(11.25))
