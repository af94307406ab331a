"""api, on a small cluster on virtual time."""

import json
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
            body = before[-1] if verb == "get" else {"metadata": {}, "items": [before[-1]]}
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
    """A proxy's page in its place, say: no internal error of khealth's."""

    async def scenario() -> None:
        async with scene() as here:

            async def garbled(asked: Asked) -> Answer | None:
                return here.api.answer(asked, b"<html>") if (asked.verb, asked.resource) == (verb, MAPS) else None

            here.api.faults.append(garbled)
            assert Reason.API_ERROR is reason(await attempted(here))

    run(scenario())


@virtual
async def test_a_created_object_that_is_not_found_is_a_stale_read() -> None:
    """The create was acknowledged."""
    async with scene() as here:
        here.api.faults.append(refusing("get", resource=MAPS, by=refusal(404, "not found", "NotFound")))
        assert (Reason.STALE_READ, {}) == (reason(await attempted(here)), here.api.objects[MAPS])
