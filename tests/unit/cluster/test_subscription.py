"""Who receives a watch's lines, and who is woken by them."""

import asyncio
from typing import Any

import pytest
from virtual_time import BEGINNING, virtual
from watching import settle, versioned, watching

from khealth_exporter.cluster.watch.subscription import Signal


@virtual
async def test_waiting_looks_again_at_each_change() -> None:
    """A condition that comes true is seen when something changes, and at the deadline in any case."""
    signal = Signal()
    facts: list[str] = []
    loop = asyncio.get_running_loop()
    loop.call_later(1.0, facts.append, "true")
    loop.call_later(2.0, signal.fire)
    seen = await signal.until(lambda: bool(facts), BEGINNING + 10.0)
    assert (True, BEGINNING + 2.0) == (seen, asyncio.get_running_loop().time())


@virtual
async def test_waiting_looks_a_last_time_at_the_deadline() -> None:
    """Whatever became true without anyone saying so."""
    signal = Signal()
    facts: list[str] = []
    asyncio.get_running_loop().call_later(1.0, facts.append, "true")
    assert await signal.until(lambda: bool(facts), BEGINNING + 10.0)
    assert BEGINNING + 10.0 == asyncio.get_running_loop().time()


def of_attempt(name: str, attempt: str) -> dict[str, Any]:
    """Return a pod of an attempt."""
    labels = {"app.kubernetes.io/managed-by": "khealth", "khealth.io/attempt": attempt}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {}}


@virtual
async def test_a_subscription_gets_the_lines_of_its_attempt_from_now_on() -> None:
    """Lines from before, and of other attempts' objects, are not collected."""
    async with watching() as seen:
        await seen.api.opened()
        seen.api.put("pods", of_attempt("a", "1"))
        await settle()
        wanted = seen.watch.subscribe(("", "", "", "1"), Signal())
        for name, attempt in (("a", "1"), ("b", "1"), ("c", "2")):
            seen.api.put("pods", of_attempt(name, attempt))
        await settle()
        assert [("MODIFIED", "a"), ("ADDED", "b")] == [(told.type, told.object.name) for told in wanted.drain()]


@virtual
async def test_a_closed_subscription_gets_nothing() -> None:
    """A subscriber that has left holds no lines."""
    async with watching() as seen:
        await seen.api.opened()
        closed = seen.watch.subscribe(("", "", "", "1"), Signal())
        closed.close()
        seen.api.put("pods", of_attempt("a", "1"))
        await settle()
        assert [] == list(closed.drain())


class Counted(Signal):
    """A signal that counts how often it is fired."""

    def __init__(self) -> None:
        super().__init__()
        self.fired = 0

    def fire(self) -> None:
        self.fired += 1
        super().fire()


@virtual
async def test_a_line_wakes_its_own_attempt_alone() -> None:
    """However many attempts wait: what a line costs does not grow with them."""
    async with watching() as seen:
        await seen.api.opened()
        signals = [Counted() for _ in range(100)]
        for number, signal in enumerate(signals):
            seen.watch.subscribe(("", "", "", str(number)), signal)
        seen.api.put("pods", of_attempt("a", "7"))
        await settle()
        assert {7: 1} == {number: signal.fired for number, signal in enumerate(signals) if signal.fired}


@virtual
async def test_a_line_wakes_nobody_who_waits_for_the_watch_to_be_live() -> None:
    """Routines that wait for a watch are woken when it goes live or stops, and by no line."""
    changed = Counted()
    async with watching(changed=changed) as seen:
        stream = await seen.api.opened()
        await settle()
        live = changed.fired
        for _ in range(100):
            seen.api.put("pods", of_attempt("a", "7"))
            await settle()
        lines = changed.fired
        stream.end()
        await settle()
        assert (1, 1) == (live, lines)
        assert lines < changed.fired


@virtual
async def test_every_attempt_hears_that_the_watch_is_not_live_any_more() -> None:
    """Waiters must look again: nothing more may come."""
    async with watching() as seen:
        stream = await seen.api.opened()
        signal = Counted()
        seen.watch.subscribe(("", "", "", "1"), signal)
        stream.end()
        await settle()
        assert signal.fired


@virtual
async def test_a_signal_wakes_everyone_whose_condition_holds() -> None:
    """All who wait are looked after at each `fire`, and nobody is woken before what they wait for holds."""
    signal, woken = Signal(), list[str]()
    holds = set[str]()

    async def wait(name: str) -> None:
        await signal.until(lambda: name in holds)
        woken.append(name)

    signal.fire()
    async with asyncio.TaskGroup() as group:
        group.create_task(wait("a"))
        group.create_task(wait("b"))
        await asyncio.sleep(1.0)
        signal.fire()
        await asyncio.sleep(1.0)
        before = list(woken)
        holds |= {"a", "b"}
        signal.fire()
    assert ([], ["a", "b"]) == (before, sorted(woken))


@virtual
async def test_a_condition_that_raises_harms_only_who_waits_for_it() -> None:
    """A routine's bug must not end the watch that everyone shares."""
    signal, broken = Signal(), list[bool]()

    def condition() -> bool:
        if broken:
            raise ValueError("a bug")
        return False

    async def wait() -> None:
        with pytest.raises(ValueError, match="a bug"):
            await signal.until(condition)

    async with asyncio.TaskGroup() as group:
        group.create_task(wait())
        await asyncio.sleep(1.0)
        broken.append(True)
        signal.fire()


@virtual
async def test_what_waits_to_be_handed_on_counts_at_the_deadline() -> None:
    """And when the wait begins: patience never makes a decision worse."""
    async with watching() as seen:
        stream = await seen.api.opened()
        signal = Signal()
        wanted = seen.watch.subscribe(None, signal)
        lines: list[str] = []

        def shown(name: str) -> bool:
            lines.extend(told.object.name for told in wanted.drain())
            return name in lines

        stream.hold("ADDED", versioned("a", 101))
        assert await signal.until(lambda: shown("a"), BEGINNING + 5.0)
        asyncio.get_running_loop().call_later(1.0, stream.hold, "ADDED", versioned("b", 102))
        assert await signal.until(lambda: shown("b"), BEGINNING + 10.0)
        assert BEGINNING + 10.0 == asyncio.get_running_loop().time()


@virtual
async def test_two_waiters_of_one_signal_survive_what_a_flush_brings() -> None:
    """A flush fires the signal: each condition is decided once."""
    async with watching() as seen:
        stream = await seen.api.opened()
        signal = Signal()
        wanted = seen.watch.subscribe(None, signal)
        lines: list[str] = []

        def shown() -> bool:
            lines.extend(told.object.name for told in wanted.drain())
            return bool(lines)

        waiters = [asyncio.ensure_future(signal.until(shown, BEGINNING + 10.0)) for _ in range(2)]
        await settle()
        stream.hold("ADDED", versioned("a", 101))
        stream.hold("ADDED", versioned("b", 102))
        signal.flush()
        assert [True, True] == await asyncio.gather(*waiters)
        assert ["a", "b"] == lines
