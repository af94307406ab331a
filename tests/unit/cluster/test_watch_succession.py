"""Streams that follow each other without a gap."""

import asyncio

import pytest
from fakes import (
    Asked,
    FakeStream,
    hanging,
    line,
    refusing,
)
from hypothesis import example, given
from hypothesis import strategies as st
from virtual_time import run, virtual
from watching import Seen, bookmarks, pod, settle, versioned, watching

from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.cluster.watch.watch import SUCCESSION
from khealth_exporter.vocabulary.reason import Reason


async def before_succession(seen: Seen) -> tuple[FakeStream, asyncio.Task[None]]:
    """Wait until a second before a stream's successor opens; return the stream, and what keeps it speaking."""
    first = await seen.api.opened()
    keep = asyncio.create_task(bookmarks(seen.api))
    await asyncio.sleep(float(first.asked.query["timeoutSeconds"]) - SUCCESSION - 1.0)
    return first, keep


@virtual
async def test_a_successor_is_opened_before_the_end() -> None:
    """A stream's follower is there some seconds before its server's timeout; nothing counts as restarted."""
    async with watching() as seen:
        first = await seen.api.opened()
        keep = asyncio.create_task(bookmarks(seen.api))
        second = await seen.api.opened()
        lifetime = float(first.asked.query["timeoutSeconds"])
        await settle()
        keep.cancel()
        assert first.closed is not None
        assert SUCCESSION == pytest.approx(first.asked.at + lifetime - second.asked.at, abs=0.6)
        assert ({}, 0, True) == (seen.causes, seen.watch.gaps, seen.watch.live)


@virtual
async def test_each_stream_has_a_random_lifetime() -> None:
    """Streams that were opened together do not always end together."""
    async with watching() as seen:
        keep = asyncio.create_task(bookmarks(seen.api))
        streams = [await seen.api.opened() for _ in range(5)]
        keep.cancel()
        assert 5 == len({stream.asked.query["timeoutSeconds"] for stream in streams})


@virtual
async def test_lines_while_a_successor_is_opened_are_told_once() -> None:
    """The old stream is read on while its successor opens; what both say is told once, in order, and fresh."""
    async with watching() as seen:
        _first, keep = await before_succession(seen)
        seen.api.faults.append(hanging("watch", seconds=4.0))
        for name in "abcdefghijklmnop":
            seen.api.put("pods", pod(name))
            await asyncio.sleep(0.5)
        await settle()
        keep.cancel()
        assert 2 == len(seen.api.streams)
        assert [("ADDED", name) for name in "abcdefghijklmnop"] == seen.told()
        assert {(False, 0.0)} == {(told.recovered, told.delay) for told in seen.lines}


@virtual
async def test_what_waits_to_be_handed_on_is_told_before_the_successor_takes_over() -> None:
    """It has its time; the successor would tell it with a later one."""
    async with watching() as seen:
        first, keep = await before_succession(seen)
        seen.api.faults.append(hanging("watch", seconds=4.0))
        await asyncio.sleep(SUCCESSION / 2)
        first.hold("ADDED", versioned("held", 10_000))
        await seen.api.opened()
        await settle()
        keep.cancel()
        assert [("ADDED", "held")] == seen.told()


@virtual
async def test_a_successor_that_is_refused_costs_its_predecessor_nothing() -> None:
    """It is good until it ends, and only then opened again: what it tells meanwhile is fresh."""
    async with watching() as seen:
        first, keep = await before_succession(seen)
        refusal = refusing("watch", by=Refusal(Reason.THROTTLED, "HTTP 429", code=429))
        seen.api.faults.append(refusal)
        await asyncio.sleep(SUCCESSION / 2)
        assert first.closed is None
        seen.api.put("pods", pod("a"))
        await settle()
        assert [("ADDED", "a", False)] == [(told.type, told.object.name, told.recovered) for told in seen.drain()]
        assert ({}, True) == (seen.causes, seen.watch.live)
        seen.api.faults.remove(refusal)
        first.end()
        await seen.api.opened()
        keep.cancel()
        assert {"ended": 1} == seen.causes


@virtual
async def test_a_line_is_not_late_because_its_successor_opens() -> None:
    """While a slow successor opens, the old stream's lines are stamped when they arrive."""
    async with watching() as seen:
        _first, keep = await before_succession(seen)
        seen.api.faults.append(hanging("watch", seconds=8.0))
        await asyncio.sleep(4.0)
        now = seen.clock.now()
        seen.api.put("pods", pod("a"))
        await asyncio.sleep(1.0)
        keep.cancel()
        assert [now] == [told.at for told in seen.drain()]


@virtual
async def test_a_line_in_two_halves_survives_the_succession() -> None:
    """A line whose second half arrives while the successor opens is whole, and on time."""
    async with watching() as seen:
        first, keep = await before_succession(seen)
        seen.api.faults.append(hanging("watch", seconds=8.0))
        keep.cancel()
        text = line("ADDED", versioned("a", 101))
        first.feed(text[:40])
        await asyncio.sleep(4.0)
        now = seen.clock.now()
        first.feed(text[40:])
        await asyncio.sleep(1.0)
        assert ([now], {}) == ([told.at for told in seen.drain()], seen.causes)


@virtual
async def test_half_a_line_of_a_predecessor_is_none_of_its_successors() -> None:
    """What a stream began to say when it was given up is not mixed with what its successor says."""
    async with watching() as seen:
        first, keep = await before_succession(seen)
        text = line("ADDED", versioned("a", 101))
        first.feed(text[:40])
        second = await seen.api.opened()
        second.feed(text)
        await asyncio.sleep(1.0)
        keep.cancel()
        assert ([("ADDED", "a")], {}) == (seen.told(), seen.causes)


@virtual
async def test_an_end_while_a_successor_is_opened_loses_nothing() -> None:
    """A predecessor that ends too early costs a restart, and no line."""
    async with watching() as seen:
        first, keep = await before_succession(seen)
        seen.api.faults.append(hanging("watch", seconds=4.0))
        await asyncio.sleep(2.0)
        seen.api.put("pods", pod("a"))
        first.end()
        seen.api.put("pods", pod("b"))
        await asyncio.sleep(10.0)
        keep.cancel()
        assert [("ADDED", "a"), ("ADDED", "b")] == seen.told()
        assert {"ended": 1} == seen.causes


@given(st.floats(0.0, 0.03))
@example(0.01)
def test_no_stream_is_left_open_when_both_end_together(later: float) -> None:
    """Whenever the predecessor breaks, even as its successor is there: what was opened is closed."""

    async def scenario() -> None:
        async with watching() as seen:
            first = await seen.api.opened()
            keep = asyncio.create_task(bookmarks(seen.api))
            opens = asyncio.Event()

            async def told(asked: Asked) -> None:
                if asked.verb == "watch":
                    opens.set()

            seen.api.faults.append(told)
            await opens.wait()
            await asyncio.sleep(later)
            if first.closed is None:
                first.end()
            await asyncio.sleep(1.0)
            keep.cancel()
            assert 1 == len(seen.api.open_streams())

    run(scenario())
