"""What a watch line costs: the same with 1,000 pods as with three, and with many waiting routines as with one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from canary_attempt import COUNT, Attempt
from documents import pod, ready
from fakes import Asked
from small_cluster import PODS, Scene, scene
from virtual_time import run, virtual

from khealth_exporter.canaries.pod_steps import WAY
from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

MANY = 1000
LINES = 100


class Counting(dict[str, Any]):
    """A mapping that counts how often one of its values is looked up, and how often all are gone through."""

    one = all = 0

    def setdefault(self, key: str, default: Any = None) -> Any:
        self.one += 1
        return super().setdefault(key, default)

    def get(self, key: str, default: Any = None) -> Any:
        self.one += 1
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.one += 1
        return super().__getitem__(key)

    def __iter__(self) -> Any:
        self.all += 1
        return super().__iter__()

    def values(self) -> Any:
        self.all += 1
        return super().values()

    def items(self) -> Any:
        self.all += 1
        return super().items()


async def crowded(here: Scene) -> Attempt:
    """Return an attempt whose controller has 1,000 pods, all of them Ready."""
    attempt = Attempt(here)
    await attempt.init()
    first = here.api.objects[PODS][here.small.pod_names()[0]]
    for number in range(COUNT, MANY):
        metadata = {**first["metadata"], "name": f"{first['metadata']['name']}-{number}", "uid": f"uid-of-pod-{number}"}
        here.api.put(PODS, {**first, "metadata": metadata})
    await asyncio.sleep(0.1)
    attempt.pods.update()
    assert MANY == len(attempt.pods.traces)
    return attempt


async def say_lines(here: Scene) -> None:
    """Let the watch show 100 lines of one pod, one after the other."""
    for _ in range(LINES):
        here.say(5, "Ready")
        await asyncio.sleep(0.005)


@asynccontextmanager
async def waiting(what: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Wait for something that does not come before the block ends."""
    task = asyncio.create_task(what)
    await asyncio.sleep(0.1)
    yield
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})


WAITS: dict[str, Callable[[Attempt, float], Coroutine[Any, Any, object]]] = {
    "all pods are Ready": lambda attempt, until: attempt.pods.all_ready(MANY + 1, until, attempt.samples.append),
    "the hold is over": lambda attempt, _until: attempt.pods.rest(10.0),
    "all pods are gone": lambda attempt, until: attempt.removal.run(until, 1.0, attempt.samples.append),
}


@pytest.mark.parametrize("what", list(WAITS))
def test_a_line_costs_the_same_however_many_pods_there_are(what: str) -> None:
    """What is waited for is counted as lines arrive: no condition looks through all pods."""

    async def scenario() -> None:
        async with scene() as here:
            attempt = await crowded(here)
            here.small.collecting = here.small.ending = False
            async with waiting(WAITS[what](attempt, here.clock.now() + 10.0)):
                attempt.pods.traces = looked_at = Counting(attempt.pods.traces)
                await say_lines(here)
            assert (True, 0) == (LINES <= looked_at.one <= 2 * LINES, looked_at.all)

    run(scenario())


@virtual
async def test_a_line_costs_the_same_while_the_watch_catches_up() -> None:
    """The API server shows a pod that the watch does not: each of the others is compared once, not at each line."""
    async with scene() as here:
        attempt = await crowded(here)
        attempt.pods.traces = looked_at = Counting(attempt.pods.traces)

        async def ahead(asked: Asked) -> Answer | None:
            if asked.verb != "list" or asked.resource != PODS:
                return None
            items = [*here.api.objects[PODS].values(), ready(pod("unseen"))]
            return here.api.answer(asked, {"metadata": {"resourceVersion": "1"}, "items": items})

        here.api.faults.append(ahead)
        asking = asyncio.create_task(attempt.pods.ask(here.clock.now() + 5.0))
        await say_lines(here)
        with pytest.raises(Failed) as raised:
            await asking
        assert Reason.WATCH_INTERRUPTED is raised.value.reason
        assert looked_at.one <= MANY + 10 * LINES


@virtual
async def test_a_line_is_no_work_for_another_attempt() -> None:
    """Its condition is not looked at: it has no line of its own."""
    async with scene() as here:
        attempt = await crowded(here)
        others, looks = [Attempt(here, number) for number in range(2, 52)], list[int]()
        async with asyncio.TaskGroup() as group:

            def never() -> bool:
                looks.append(1)
                return False

            until = here.clock.now() + 10.0
            waits = [group.create_task(other.pods.until(never, until)) for other in others]
            await asyncio.sleep(0.1)
            before = len(looks)
            await say_lines(here)
            after = len(looks)
            for wait in waits:
                wait.cancel()
        attempt.pods.update()
        assert (len(others), len(others)) == (before, after)
        assert WAY.created in next(iter(attempt.pods.traces.values())).moments
