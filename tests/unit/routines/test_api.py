"""api, on a small cluster on virtual time."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from fakes import FORBIDDEN, UNAVAILABLE, UNREACHABLE, Asked, FakeApi, Json, hanging, refusal, refusing
from small_cluster import Scene, scene
from virtual_time import run, virtual

from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.core.collector import Collector
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.core.snapshot import Attempt
from khealth_exporter.routines.api import Api, ApiSettings
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Quality

MAPS, SLICES = "configmaps", "endpointslices"
OURS = {"module": "control-plane", "routine": "api"}


async def attempted(here: Scene, **chosen: Any) -> Attempt:
    """Return what one attempt came to."""
    collector = Collector("control-plane", here.figures.metrics, here.clock)
    collector.want([RoutineConfig("control-plane", "api", Api, ApiSettings(**chosen))], here.context)
    await collector.start(once=True)
    (status,) = collector.status().routines
    return status.attempts[-1]


def reason(attempt: Attempt) -> Reason | None:
    return attempt.verdict.reason if attempt.verdict else None


@virtual
async def test_every_verb_is_measured() -> None:
    """In the order of the attempt, the read twice; nothing is left."""
    async with scene() as here:
        attempt = await attempted(here)
        expected = ["connect", "create", "get", "update", "get", "list", "watch", "delete"]
        assert expected == [measured.step.name for measured in attempt.measurements]
        assert (None, {}) == (reason(attempt), here.api.objects[MAPS])


@virtual
async def test_it_costs_three_writes() -> None:
    """As the documentation says."""
    async with scene() as here:
        await attempted(here)
        verbs = [asked.verb for asked in here.api.asked if asked.resource == MAPS]
        assert Api.writes == sum(verb in {"create", "update", "delete"} for verb in verbs)


def stale(api: FakeApi, verb: str) -> None:
    """Let reads show what was there before the last write."""
    before: list[Json] = []

    async def fault(asked: Asked) -> Answer | None:
        if asked.resource == MAPS and asked.verb == "update":
            before.append(api.objects[MAPS][asked.name])
        if asked.resource == MAPS and asked.verb == verb and before:
            body = before[-1] if verb == "get" else {"metadata": {"resourceVersion": "1"}, "items": [before[-1]]}
            return api.answer(asked, json.loads(json.dumps(body)))
        return None

    api.faults.append(fault)


@pytest.mark.parametrize("verb", ["get", "list"])
def test_a_read_that_is_older_than_the_write_is_stale(verb: str) -> None:
    """The API server has acknowledged a write, and does not show it."""

    async def scenario() -> None:
        async with scene() as here:
            stale(here.api, verb)
            attempt = await attempted(here)
            assert (Reason.STALE_READ, {}) == (reason(attempt), here.api.objects[MAPS])

    run(scenario())


@pytest.mark.parametrize(
    ("verb", "by", "expected"),
    [
        ("connect", UNREACHABLE, Reason.API_UNREACHABLE),
        ("create", UNAVAILABLE, Reason.API_ERROR),
        ("update", UNAVAILABLE, Reason.API_ERROR),
        ("watch", FORBIDDEN, Reason.FORBIDDEN),
    ],
)
def test_a_verb_that_fails_gives_the_verdict(verb: str, by: Refusal, expected: Reason) -> None:
    """And what was created is deleted all the same."""

    async def scenario() -> None:
        async with scene() as here:
            here.api.faults.append(refusing(verb, resource="readyz" if verb == "connect" else MAPS, by=by))
            attempt = await attempted(here)
            assert (expected, {}) == (reason(attempt), here.api.objects.get(MAPS, {}))

    run(scenario())


@virtual
async def test_a_watch_that_does_not_show_the_change_is_a_timeout() -> None:
    """The write was acknowledged: the watch cache is behind."""
    async with scene() as here:
        tell = here.api._tell
        here.api._tell = lambda resource, *told: None if resource == MAPS else tell(resource, *told)  # type: ignore[method-assign]
        attempt = await attempted(here)
        assert Reason.API_TIMEOUT is reason(attempt)
        assert attempt.verdict
        assert "watch" in attempt.verdict.note


def slice_of(*addresses: str) -> Json:
    """Return the EndpointSlice of the API server."""
    endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    labels = {"kubernetes.io/service-name": "kubernetes"}
    ports = [{"name": "https", "port": 6443}]
    return {"metadata": {"name": "kubernetes", "labels": labels}, "endpoints": endpoints, "ports": ports}


def dead(*hosts: str) -> Any:
    """Return a fault that lets no connection to these addresses be made."""

    async def fault(asked: Asked) -> Refusal | None:
        return UNREACHABLE if asked.verb == "connect" and any(host in asked.path for host in hosts) else None

    return fault


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ((), None),
        (("198.18.0.2",), Reason.ONE_API_SERVER),
        (("198.18.0.2", "198.18.0.3"), Reason.API_UNREACHABLE),
    ],
)
def test_each_api_server_is_connected_to(failing: tuple[str, ...], expected: Reason | None) -> None:
    """Some that fail are a ticket; all of them are the API server."""

    async def scenario() -> None:
        async with scene() as here:
            here.api.put(SLICES, slice_of("198.18.0.2", "198.18.0.3"))
            here.api.faults.append(dead(*failing))
            attempt = await attempted(here, endpoints=True)
            assert expected is reason(attempt)

    run(scenario())


@virtual
async def test_without_the_option_no_address_is_asked_for() -> None:
    """The right to list EndpointSlices is needed only with it."""
    async with scene() as here:
        await attempted(here)
        assert [] == here.api.named("list", SLICES)


@virtual
async def test_the_certificates_end_is_a_gauge() -> None:
    """Absent where no handshake has shown one."""
    async with scene() as here:
        await attempted(here)
        before = here.figures.value("khealth_api_certificate_expiry_timestamp_seconds", **OURS)
        here.api.certificate_end = 1.8e9
        await attempted(here)
        assert (None, 1.8e9) == (before, here.figures.value("khealth_api_certificate_expiry_timestamp_seconds", **OURS))


@virtual
async def test_an_unanswered_create_leaves_nothing() -> None:
    """It may have been done: it is looked for by name."""
    async with scene() as here:

        async def lost(asked: Asked) -> Refusal | None:
            if asked.verb == "create" and asked.resource == MAPS:
                here.api.put(MAPS, asked.body)
                return UNREACHABLE
            return None

        here.api.faults.append(lost)
        attempt = await attempted(here)
        assert (Reason.API_UNREACHABLE, {}) == (reason(attempt), here.api.objects[MAPS])


@virtual
async def test_an_api_server_that_hangs_ends_the_attempt_at_its_deadline() -> None:
    """As a timeout of the API."""
    async with scene() as here:
        here.api.faults.append(hanging("get", resource=MAPS))
        began = here.clock.now()
        assert Reason.API_TIMEOUT is reason(await attempted(here))
        assert here.clock.now() - began < 30.0


@pytest.mark.parametrize("verb", ["get", "update", "list"])
def test_an_answer_that_cannot_be_decoded_is_the_api_servers_error(verb: str) -> None:
    """No internal error of khealth's."""
    assert Reason.API_ERROR is answered_with(b"{half", verb)


@pytest.mark.parametrize("verb", ["create", "get", "update", "list"])
def test_a_page_in_its_place_is_not_the_api_servers(verb: str) -> None:
    """An access proxy asks people to log in, under 200."""
    assert Reason.PROXY_ERROR is answered_with(b"\n<html>Sign in</html>", verb)


def answered_with(body: bytes, verb: str) -> Reason | None:
    """Return the verdict where every request of a verb is answered like this."""

    async def scenario() -> Reason | None:
        async with scene() as here:

            async def garbled(asked: Asked) -> Answer | None:
                return here.api.answer(asked, body) if (asked.verb, asked.resource) == (verb, MAPS) else None

            here.api.faults.append(garbled)
            return reason(await attempted(here))

    return run(scenario())


@virtual
async def test_a_created_object_that_is_not_found_is_a_stale_read() -> None:
    """The create was acknowledged."""
    async with scene() as here:
        here.api.faults.append(refusing("get", resource=MAPS, by=refusal(404, "not found", "NotFound")))
        assert (Reason.STALE_READ, {}) == (reason(await attempted(here)), here.api.objects[MAPS])


GARBLED = {
    "no object": b"{}",
    "a list": b"[]",
    "nothing": b"",
    "no uid": b'{"metadata": {"name": "a", "resourceVersion": "7"}}',
    "no version": b'{"metadata": {"name": "a", "uid": "u"}}',
    "an absurd version": b'{"metadata": {"name": "a", "uid": "u", "resourceVersion": "latest"}}',
}


@pytest.mark.parametrize("body", GARBLED.values(), ids=GARBLED)
@pytest.mark.parametrize("verb", ["create", "get", "update"])
def test_an_answer_that_is_no_object_is_the_api_servers_error(verb: str, body: bytes) -> None:
    """No internal error, no success, no stale read; and what a create made is deleted all the same."""

    async def scenario() -> None:
        async with scene() as here:

            async def garbled(asked: Asked) -> Answer | None:
                if (asked.verb, asked.resource) != (verb, MAPS) or here.api.named("delete"):
                    return None
                if verb != "get":
                    getattr(here.api, f"_{verb}")(asked)
                here.api.faults.clear()
                return here.api.answer(asked, body)

            here.api.faults.append(garbled)
            attempt = await attempted(here)
            assert (Reason.API_ERROR, {}) == (reason(attempt), here.api.objects[MAPS])
            assert attempt.verdict
            assert "cannot decode answer" in attempt.verdict.note

    run(scenario())


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"metadata": {}, "items": []}'])
def test_a_list_without_a_version_is_the_api_servers_error(body: bytes) -> None:
    """It is no list in which the ConfigMap is missing."""

    async def scenario() -> None:
        async with scene() as here:

            async def garbled(asked: Asked) -> Answer | None:
                return here.api.answer(asked, body) if (asked.verb, asked.resource) == ("list", MAPS) else None

            here.api.faults.append(garbled)
            assert Reason.API_ERROR is reason(await attempted(here))

    run(scenario())


def deleting(here: Scene, verb: str, times: int = 1) -> Any:
    """Return a fault: another client deletes the ConfigMap just before the verb is asked for."""
    seen: list[str] = []

    async def fault(asked: Asked) -> None:
        if (asked.verb, asked.resource) == (verb, MAPS) and not asked.query.get("dryRun"):
            seen.append(verb)
            if len(seen) == times:
                for name in list(here.api.objects[MAPS]):
                    here.api.remove(MAPS, name)

    return fault


@pytest.mark.parametrize(("verb", "times"), [("get", 1), ("update", 1), ("get", 2), ("list", 1)])
def test_a_config_map_that_another_client_deletes_is_no_fault_of_the_api_server(verb: str, times: int) -> None:
    """Wherever in the attempt that is: nothing can be said of the API server."""

    async def scenario() -> None:
        async with scene() as here:
            here.api.faults.append(deleting(here, verb, times))
            attempt = await attempted(here)
            assert (Reason.INTERRUPTED, {}) == (reason(attempt), here.api.objects[MAPS])
            assert attempt.verdict
            assert attempt.verdict.note.endswith("was deleted by another client")

    run(scenario())


@pytest.mark.parametrize(
    ("said", "note"),
    [
        (refusal(403, "namespace is being terminated", "Forbidden", "NamespaceTerminating"), "being terminated"),
        (refusal(404, "namespaces not found", "NotFound"), "namespace khealth was deleted"),
        (UNREACHABLE, "was deleted by another client"),
    ],
)
def test_a_config_map_that_goes_with_its_namespace_is_an_interruption(said: Refusal, note: str) -> None:
    """The API server says so of itself: it lets nothing be created there."""

    async def scenario() -> None:
        async with scene() as here:

            async def trial(asked: Asked) -> Refusal | None:
                return said if asked.query.get("dryRun") else None

            here.api.faults += [deleting(here, "get"), trial]
            attempt = await attempted(here)
            assert attempt.verdict
            assert (Reason.INTERRUPTED, True) == (reason(attempt), note in attempt.verdict.note)

    run(scenario())


@virtual
async def test_a_list_that_lacks_an_existing_config_map_is_a_stale_read() -> None:
    """Its deletion shows that it was there."""
    async with scene() as here:

        async def empty(asked: Asked) -> Answer | None:
            none: Json = {"metadata": {"resourceVersion": "1"}, "items": []}
            return here.api.answer(asked, none) if (asked.verb, asked.resource) == ("list", MAPS) else None

        here.api.faults.append(empty)
        attempt = await attempted(here)
        deletes = [measured.step.name for measured in attempt.measurements if measured.step.name == "delete"]
        assert (Reason.STALE_READ, ["delete"], {}) == (reason(attempt), deletes, here.api.objects[MAPS])


@virtual
async def test_a_config_map_whose_labels_another_client_changes_is_no_fault_of_the_api_server() -> None:
    """The list by labels rightly lacks it."""
    async with scene() as here:

        async def relabel(asked: Asked) -> None:
            if (asked.verb, asked.resource) == ("list", MAPS) and here.api.objects.get(MAPS):
                (item,) = here.api.objects[MAPS].values()
                here.api.put(MAPS, {**item, "metadata": {**item["metadata"], "labels": {}}})

        here.api.faults.append(relabel)
        attempt = await attempted(here)
        assert attempt.verdict
        assert (Reason.INTERRUPTED, True) == (reason(attempt), "labels" in attempt.verdict.note)


@virtual
async def test_watches_that_all_end_at_once_are_the_api_servers_error() -> None:
    """A proxy cuts them, for example; they are not opened ten times a second."""
    async with scene() as here:
        tell = here.api._tell
        here.api._tell = lambda resource, *told: None if resource == MAPS else tell(resource, *told)  # type: ignore[method-assign]

        async def end(asked: Asked) -> None:
            if (asked.verb, asked.resource) == ("watch", MAPS):
                here.small.later(0.02, here.api.cut)

        here.api.faults.append(end)
        attempt = await attempted(here)
        assert Reason.API_ERROR is reason(attempt)
        assert 15 >= len(here.api.named("watch", MAPS))


@virtual
async def test_a_config_map_that_another_client_changes_is_no_fault_of_the_api_server() -> None:
    """The update conflicts, as it must."""
    async with scene() as here:

        async def change(asked: Asked) -> None:
            if (asked.verb, asked.resource) == ("update", MAPS):
                here.api.put(MAPS, {**here.api.objects[MAPS][asked.name], "data": {"value": "another"}})

        here.api.faults.append(change)
        attempt = await attempted(here)
        assert attempt.verdict
        assert (Reason.INTERRUPTED, True) == (reason(attempt), "changed by another client" in attempt.verdict.note)


@virtual
async def test_a_conflict_without_any_change_is_the_api_servers_fault() -> None:
    """The object still has the version that the update named."""
    async with scene() as here:
        here.api.faults.append(refusing("update", resource=MAPS, by=refusal(409, "modified", "Conflict")))
        assert Reason.API_REJECTED is reason(await attempted(here))


def slow(*hosts: str, seconds: float = 1e9) -> Any:
    """Return a fault that lets connections to these addresses take so long."""

    async def fault(asked: Asked) -> None:
        if asked.verb == "connect" and any(host in asked.path for host in hosts):
            await asyncio.sleep(seconds)

    return fault


@virtual
async def test_dead_addresses_take_no_time_of_the_steps() -> None:
    """Every step is measured; the addresses are asked at the same time, and judged last."""
    hosts = [f"198.18.0.{number}" for number in range(2, 6)]
    async with scene() as here:
        here.api.put(SLICES, slice_of(*hosts))
        here.api.faults.append(slow(*hosts[1:]))
        began = here.clock.now()
        attempt = await attempted(here, endpoints=True)
        assert Reason.ONE_API_SERVER is reason(attempt)
        assert {step.name for step in Api.steps} == {measured.step.name for measured in attempt.measurements}
        assert here.clock.now() - began < 6.0


@virtual
@pytest.mark.parametrize(("seconds", "expected"), [(0.9, None), (1.1, Reason.ONE_API_SERVER)])
async def test_an_address_has_a_second_whatever_is_left(seconds: float, expected: Reason | None) -> None:
    """The steps took nearly all there was."""
    async with scene() as here:
        here.api.put(SLICES, slice_of("198.18.0.2", "198.18.0.3"))
        here.api.faults += [hanging("list", resource=SLICES, seconds=9.5), slow("198.18.0.3", seconds=seconds)]
        assert expected is reason(await attempted(here, endpoints=True))


@virtual
async def test_addresses_that_nothing_is_known_of_are_no_success() -> None:
    """The machine of khealth itself cannot connect to any."""
    async with scene() as here:
        here.api.put(SLICES, slice_of("198.18.0.2", "198.18.0.3"))
        starved = Refusal(Reason.PROBER_STARVED, "khealth's own machine: Cannot assign requested address", retry=True)

        async def fault(asked: Asked) -> Refusal | None:
            return starved if "198.18.0." in asked.path else None

        here.api.faults.append(fault)
        assert Reason.PROBER_STARVED is reason(await attempted(here, endpoints=True))


@pytest.mark.parametrize(("latency", "timeout"), [(1.6, 10.0), (2.4, 10.0), (9.5, 10.0), (5.0, 0.5)])
def test_an_api_server_that_uses_up_the_time_is_to_blame(latency: float, timeout: float) -> None:
    """However little time it leaves for its last answer."""

    async def scenario() -> None:
        async with scene() as here:
            here.api.latency = latency
            assert Reason.API_TIMEOUT is reason(await attempted(here, timeout=timeout))

    run(scenario())


@pytest.mark.parametrize("order", [1, -1])
def test_a_refusal_of_one_address_hides_no_dead_one(order: int) -> None:
    """Whatever order they have: one answers, one is not permitted, one is dead."""

    async def scenario() -> None:
        async with scene() as here:
            here.api.put(SLICES, slice_of(*["198.18.0.2", "198.18.0.3", "198.18.0.4"][::order]))

            async def denied(asked: Asked) -> Refusal | None:
                return FORBIDDEN if "198.18.0.4" in asked.path else None

            here.api.faults += [dead("198.18.0.2"), denied]
            assert Reason.ONE_API_SERVER is reason(await attempted(here, endpoints=True))

    run(scenario())


@virtual
async def test_the_earliest_end_of_all_certificates_is_kept() -> None:
    """Each address shows its own."""
    ends = {"198.18.0.2": 1.9e9, "198.18.0.3": 1.7e9}
    async with scene() as here:
        here.api.put(SLICES, slice_of(*ends))
        here.api.certificate_end = 1.8e9

        async def shown(asked: Asked) -> Answer | None:
            host = asked.path.partition(":")[0]
            if asked.verb != "connect" or host not in ends:
                return None
            return replace(here.api.answer(asked, b"ok"), certificate_end=ends[host])

        here.api.faults.append(shown)
        await attempted(here, endpoints=True)
        assert 1.7e9 == here.figures.value("khealth_api_certificate_expiry_timestamp_seconds", **OURS)


@virtual
async def test_a_watch_that_breaks_before_the_change_is_opened_again() -> None:
    """It shows the change late, through no fault of the API server's: the measurement is degraded."""
    async with scene() as here:

        async def cut(asked: Asked) -> None:
            if (asked.verb, asked.resource) == ("update", MAPS):
                here.api.cut(UNREACHABLE)
                await asyncio.sleep(0.01)

        here.api.faults.append(cut)
        attempt = await attempted(here)
        quality = [measured.quality for measured in attempt.measurements if measured.step.name == "watch"]
        assert (None, [Quality.DEGRADED]) == (reason(attempt), quality)


@virtual
async def test_what_a_watch_shows_before_an_error_is_shown() -> None:
    """Though both come in one read."""
    async with scene() as here:

        async def join(asked: Asked) -> None:
            if (asked.verb, asked.resource) == ("update", MAPS):
                (stream,) = here.api.open_streams(MAPS)
                error = json.dumps({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}).encode()
                feed = stream.feed

                def joined(*chunks: bytes) -> None:
                    feed(b"".join(chunks) + error + b"\n")

                stream.feed = joined  # type: ignore[method-assign]

        here.api.faults.append(join)
        assert reason(await attempted(here)) is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}, Reason.WATCH_INTERRUPTED),
        ({"type": "ERROR", "object": {"code": 500, "message": "broken"}}, Reason.API_ERROR),
        ({"type": "MODIFIED", "object": {}}, Reason.API_ERROR),
        ("{half", Reason.API_ERROR),
        ("<html>", Reason.PROXY_ERROR),
        ("login required", Reason.PROXY_ERROR),
        ({"error": "login required"}, Reason.PROXY_ERROR),
    ],
)
def test_a_watch_that_says_no_version_gives_the_verdict(said: object, expected: Reason) -> None:
    """An error is judged by its own code; a page is not the API server's, anything else is."""

    async def scenario() -> None:
        async with scene() as here:

            async def say(asked: Asked) -> None:
                if (asked.verb, asked.resource) == ("update", MAPS):
                    (stream,) = here.api.open_streams(MAPS)
                    stream.feed((said if isinstance(said, str) else json.dumps(said)).encode() + b"\n")
                    await asyncio.sleep(0.01)

            here.api.faults.append(say)
            assert expected is reason(await attempted(here))

    run(scenario())
