"""collect, on an API server in memory with a small garbage collector."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fakes import FORBIDDEN, UNAVAILABLE, UNREACHABLE, Asked, Json, hanging, refusal, refusing
from small_cluster import Scene, scene
from small_collector import MAPS, POLICIES, SmallCollector
from virtual_time import run, virtual

from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.cluster.kinds import CONFIG_MAP
from khealth_exporter.cluster.sweep import Sweeper
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.core.snapshot import RoutineStatus
from khealth_exporter.routines.collect import Collect, CollectSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason

NAME = "khealth-workloads-collect-run-1"
STEPS = dict(zip(POLICIES, ("background", "foreground", "orphan"), strict=True))


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[Scene, SmallCollector]]:
    """Watch ConfigMaps that a garbage collector looks after."""
    async with scene() as here:
        here.cluster.watches.need((CONFIG_MAP,))
        yield here, SmallCollector(here.api)


async def ran(here: Scene, seconds: float = 0.0, **chosen: Any) -> RoutineStatus:
    """Run collect for some seconds, or once."""
    collector = Collector("workloads", here.figures.metrics, here.clock)
    collector.want([RoutineConfig("workloads", "collect", Collect, CollectSettings(**chosen))], here.context)
    if seconds:
        here.small.later(seconds, collector.terminate)
    await collector.start(once=not seconds)
    (status,) = collector.status().routines
    return status


def reasons(status: RoutineStatus) -> list[Reason | None]:
    return [attempt.verdict.reason for attempt in status.attempts if attempt.verdict]


def note(status: RoutineStatus) -> str:
    verdict = status.attempts[-1].verdict
    return verdict.note if verdict else ""


@virtual
async def test_every_policy_does_what_it_says() -> None:
    """Each is measured, and nothing is left."""
    async with watched() as (here, garbage):
        status = await ran(here)
        measured = {m.step.name: m.seconds for m in status.attempts[-1].measurements}
        assert ([None], {}) == (reasons(status), garbage.maps)
        assert {"background": 0.1, "foreground": 0.2, "orphan": 0.2} == pytest.approx(measured, abs=0.03)


@virtual
async def test_it_writes_as_often_as_it_declares() -> None:
    """Creates, deletes of owners, deletes of orphans."""
    async with watched() as (here, _):
        await ran(here)
        assert Collect.writes == sum(asked.verb in {"create", "delete"} for asked in here.api.asked)


@virtual
async def test_each_owner_is_deleted_by_its_policy() -> None:
    """What has stayed is deleted by khealth itself."""
    async with watched() as (here, _):
        await ran(here)
        sent = {
            asked.name.removeprefix(f"{NAME}-"): asked.body["propagationPolicy"] for asked in here.api.named("delete")
        }
        owners = {step: policy for policy, step in STEPS.items()}
        assert owners | {"orphan-1": "Background", "orphan-2": "Background"} == sent


@virtual
async def test_dependents_belong_to_their_owner_alone() -> None:
    """Or they would stay as long as khealth's Pod; and they block their owner's deletion."""
    async with watched() as (here, _):
        await ran(here)
        sent = [asked.body["metadata"] for asked in here.api.named("create", MAPS)]
        owners = [[(o["name"], o["blockOwnerDeletion"]) for o in m.get("ownerReferences", [])] for m in sent]
        expected = {"": [], **{f"{step}-{n}": [(f"{NAME}-{step}", True)] for step in STEPS.values() for n in (1, 2)}}
        named = {m["name"].removeprefix(f"{NAME}-"): o for m, o in zip(sent, owners, strict=True)}
        assert expected == {"": [], **{name: o for name, o in named.items() if name not in STEPS.values()}}
        assert all("workloads" == m["labels"]["khealth.io/module"] for m in sent)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_not_collected_is_blamed_on_the_controller_manager(policy: str) -> None:
    """The step is the policy's, and khealth removes what is left."""

    async def scenario() -> None:
        async with watched() as (here, garbage):
            garbage.working.discard(policy)
            status = await ran(here)
            verdict = status.attempts[-1].verdict
            assert verdict
            assert (Reason.NOT_COLLECTED, Component.CONTROLLER_MANAGER) == (verdict.reason, verdict.component)
            assert (True, {}) == (f"({policy})" in verdict.note, garbage.maps)

    run(scenario())


@virtual
async def test_a_dead_controller_manager_is_blamed() -> None:
    """At the first attempt: nothing tells that it works."""
    async with watched() as (here, garbage):
        garbage.working.clear()
        status = await ran(here)
        assert ([Reason.NOT_COLLECTED], {}) == (reasons(status), garbage.maps)


@virtual
async def test_a_collector_that_has_done_a_part_is_busy_but_not_for_ever() -> None:
    """Five minutes later it counts as broken."""
    async with watched() as (here, garbage):
        garbage.most = 1
        status = await ran(here, 450.0)
        told = reasons(status)
        assert ([Reason.UNKNOWN] * 3, {Reason.NOT_COLLECTED}, {}) == (told[:3], set(told[3:]), garbage.maps)


@virtual
async def test_a_collector_that_had_no_time_is_nobodys_fault() -> None:
    """The API server took most of it."""
    async with watched() as (here, garbage):
        garbage.working.clear()

        async def slow(asked: Asked) -> None:
            if asked.verb == "create" and asked.name == MAPS and not asked.query:
                await asyncio.sleep(4.5)

        here.api.faults.append(slow)
        assert [Reason.NO_SINGLE_CAUSE] == reasons(await ran(here))


@virtual
async def test_a_collector_that_was_asked_late_is_nobodys_fault() -> None:
    """The API server took most of the time for the delete."""
    async with watched() as (here, garbage):
        garbage.working.clear()
        here.api.faults.append(hanging("delete", resource=MAPS, seconds=20.0))
        assert [Reason.NO_SINGLE_CAUSE] == reasons(await ran(here))


@virtual
async def test_an_owner_is_orphaned_only_once_the_collector_knows_its_dependents() -> None:
    """One that does not know them deletes them later: the garbage collector after an outage of the API server."""
    async with watched() as (here, garbage):
        garbage.working.clear()
        await ran(here)
        assert [] == [asked for asked in here.api.asked if asked.body.get("propagationPolicy") == "Orphan"]


@pytest.mark.parametrize(
    ("policy", "words"), [("Orphan", "deleted with Orphan"), ("Foreground", "before its dependents")]
)
def test_what_should_have_stayed_is_wrongly_collected(policy: str, words: str) -> None:
    """Dependents of an orphan's owner; an owner in the foreground until its dependents are gone."""

    async def scenario() -> None:
        async with watched() as (here, garbage):
            garbage.mistaken = True
            garbage.working = {"Background", policy}
            status = await ran(here)
            assert (Reason.WRONGLY_COLLECTED, True, {}) == (reasons(status)[0], words in note(status), garbage.maps)

    run(scenario())


def before_delete(here: Scene, step: str, act: Callable[[], None]) -> None:
    """Let something happen once the last dependent of an owner is created, and before the owner is deleted."""
    done: list[bool] = []

    async def fault(asked: Asked) -> None:
        if asked.verb == "delete" and asked.name == f"{NAME}-{step}" and not done:
            done.append(True)
            act()

    here.api.faults.append(fault)


def on_created(here: Scene, name: str, act: Callable[[], None]) -> None:
    """Let something happen as soon as a ConfigMap is created."""
    before = here.api.created

    def created(resource: str, item: Json) -> None:
        before(resource, item)
        if item["metadata"]["name"] == name:
            here.small.later(0.0, act)

    here.api.created = created


@virtual
async def test_a_dependent_that_goes_before_its_owner_is_wrongly_collected() -> None:
    """The collector deletes what belongs to something that exists."""
    async with watched() as (here, garbage):
        on_created(here, f"{NAME}-background-1", lambda: garbage.gone(f"{NAME}-background-1"))
        status = await ran(here)
        assert ([Reason.WRONGLY_COLLECTED], True) == (reasons(status), "its owner exists" in note(status))
        assert {} == garbage.maps


@pytest.mark.parametrize("step", STEPS.values())
def test_an_owner_that_another_client_deletes_is_not_the_collectors_fault(step: str) -> None:
    """The deletion is not the one that khealth asks for."""

    async def scenario() -> None:
        async with watched() as (here, garbage):
            on_created(here, f"{NAME}-{step}-1", lambda: garbage.gone(f"{NAME}-{step}"))
            status = await ran(here)
            assert ([Reason.INTERRUPTED], {}) == (reasons(status), garbage.maps)

    run(scenario())


@virtual
async def test_an_orphan_that_another_client_deletes_is_not_the_collectors_fault() -> None:
    """It belonged to nobody any more: the collector had no business with it."""
    async with watched() as (here, garbage):
        garbage.working.discard("Foreground")  # The attempt goes on.
        here.small.later(1.0, garbage.gone, f"{NAME}-orphan-1")
        garbage.working.add("Foreground")
        slow: list[Json] = []

        def late(policy: str, owner: Json) -> None:
            if policy == "Foreground":
                slow.append(owner)
                garbage.later(20, act, policy, owner)
            else:
                act(policy, owner)

        act = garbage._act
        garbage._act = late  # type: ignore[method-assign]
        status = await ran(here)
        assert ([Reason.INTERRUPTED], True, {}) == (reasons(status), "orphan-1" in note(status), garbage.maps)


@pytest.mark.parametrize("name", ["background-1", "foreground", "foreground-2", "orphan"])
def test_a_finalizer_of_another_client_is_not_the_collectors_fault(name: str) -> None:
    """It is named; what has it stays until that client removes it."""

    async def scenario() -> None:
        async with watched() as (here, garbage):

            def keep() -> None:
                item = garbage.maps[f"{NAME}-{name}"]
                here.api.put(MAPS, {**item, "metadata": {**item["metadata"], "finalizers": ["example.com/keep"]}})

            on_created(here, f"{NAME}-{name}", keep)
            status = await ran(here)
            assert ([Reason.INTERRUPTED], True) == (reasons(status), "example.com/keep" in note(status))

    run(scenario())


@virtual
async def test_a_dependent_that_was_taken_from_its_owner_is_not_the_collectors_fault() -> None:
    """It does not go with it."""
    async with watched() as (here, garbage):

        def free() -> None:
            item = garbage.maps[f"{NAME}-background-1"]
            here.api.put(MAPS, {**item, "metadata": {**item["metadata"], "ownerReferences": []}})

        before_delete(here, "background", free)
        status = await ran(here)
        assert ([Reason.INTERRUPTED], {}) == (reasons(status), garbage.maps)


@virtual
async def test_a_dependent_with_other_labels_is_not_the_collectors_fault() -> None:
    """Its watch selects by labels: it looks as if it were gone."""
    async with watched() as (here, garbage):

        def relabel() -> None:
            name = f"{NAME}-orphan-1"
            item = garbage.maps[name]
            here.api.remove(MAPS, name)
            here.api.objects[MAPS][name] = {**item, "metadata": {**item["metadata"], "labels": {}}}

        on_created(here, f"{NAME}-orphan-1", relabel)
        status = await ran(here)
        assert ([Reason.INTERRUPTED], True) == (reasons(status), "other labels" in note(status))
        assert {} == garbage.maps


@pytest.mark.parametrize("working", [(), ("Background", "Foreground", "Orphan")])
def test_a_namespace_that_goes_is_not_the_collectors_fault(working: tuple[str, ...]) -> None:
    """Everything in it goes, or nothing does any more."""
    gone = refusal(
        403, "is forbidden: unable to create new content in namespace khealth because it is being terminated"
    )

    async def trial(asked: Asked) -> Refusal | None:
        return gone if asked.query.get("dryRun") else None

    async def scenario() -> None:
        async with watched() as (here, garbage):
            garbage.working = set(working)
            garbage.mistaken = bool(working)
            here.api.faults.append(trial)
            assert [Reason.INTERRUPTED] == reasons(await ran(here))

    run(scenario())


@virtual
async def test_a_watch_that_is_behind_is_not_the_collectors_fault() -> None:
    """The API server is asked before anybody is blamed."""
    async with watched() as (here, _):
        begun = len(here.api.named("delete"))

        async def hush(asked: Asked) -> None:
            if asked.verb == "delete" and begun == 0:
                for stream in here.api.open_streams(MAPS):
                    stream.hushed = True

        here.api.faults.append(hush)
        assert Reason.WATCH_INTERRUPTED in reasons(await ran(here))


@pytest.mark.parametrize(("verb", "by"), [("create", UNAVAILABLE), ("delete", UNAVAILABLE), ("create", FORBIDDEN)])
def test_a_write_that_is_refused_gives_the_verdict(verb: str, by: Refusal) -> None:
    """It is the API server's, or a right is missing."""

    async def scenario() -> None:
        async with watched() as (here, garbage):
            fault = refusing(verb, resource=MAPS, by=by)
            here.api.faults.append(fault)
            here.small.later(10.0, here.api.faults.remove, fault)
            status = await ran(here)
            assert ([by.reason], {}) == (reasons(status), garbage.maps)

    run(scenario())


@virtual
async def test_unanswered_creates_are_found_and_removed() -> None:
    """The writes went through; nobody has heard of them."""
    async with watched() as (here, garbage):

        async def lost(asked: Asked) -> Refusal | None:
            if asked.verb != "create" or "-2" not in asked.body["metadata"]["name"]:
                return None
            here.api._create(asked)
            return UNREACHABLE

        here.api.faults.append(lost)
        assert ([Reason.API_UNREACHABLE], {}) == (reasons(await ran(here)), garbage.maps)


@pytest.mark.parametrize("seconds", [0.005, 0.015, 0.035, 0.08, 0.15])
@pytest.mark.parametrize("alive", [True, False])
def test_what_a_killed_run_leaves_is_swept(seconds: float, alive: bool) -> None:
    """By its labels, whatever the moment, and whether or not the collector works."""

    async def scenario() -> None:
        async with watched() as (here, garbage):
            garbage.working = set(POLICIES if alive else ())
            dead: list[bool] = []

            async def killed(asked: Asked) -> Refusal | None:
                return FORBIDDEN if dead and asked.verb == "delete" else None

            here.api.faults.append(killed)
            here.small.later(seconds, dead.append, True)  # noqa: FBT003
            await ran(here, timeout=seconds)
            here.api.faults.clear()
            sweeper = Sweeper(here.cluster)
            sweeper.cover(Collect.sweeps())
            for _ in range(4):
                await sweeper.sweep()
                await asyncio.sleep(10.0)
            assert {} == garbage.maps

    run(scenario())


def test_its_rights_follow_from_what_it_makes() -> None:
    """And one that some clusters demand for `blockOwnerDeletion`."""
    rights = {(p.verb, p.resource) for p in Collect.all_permissions()}
    maps = {(verb, MAPS) for verb in ("create", "get", "delete", "list", "watch")}
    assert {*maps, ("update", "configmaps/finalizers")} == rights
