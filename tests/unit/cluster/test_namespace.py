"""The namespace: made if it is missing, waited for while it goes, removed by its creator."""

import asyncio

import pytest
from fakes import (
    FORBIDDEN,
    UNAVAILABLE,
    UNREACHABLE,
    Asked,
    FakeApi,
    Fault,
    Json,
    cluster_of,
    garbled,
    hanging,
    refusal,
    refusing,
)
from virtual_time import BEGINNING, run, virtual, virtual_clock

from khealth_exporter.cluster.errors import Refusal, Refused
from khealth_exporter.cluster.kinds import REPLICATION_CONTROLLER
from khealth_exporter.cluster.namespace import NamespaceKeeper
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

NAMESPACES = "namespaces"
DEADLINE = BEGINNING + 20.0


def keeper(api: FakeApi) -> NamespaceKeeper:
    return NamespaceKeeper("khealth", api, api.clock)


def namespaced(*, leaving: bool = False) -> Json:
    going = {"deletionTimestamp": "2026-11-23T14:30:00Z"} if leaving else {}
    return {"metadata": {"name": "khealth", **going}}


def attended(api: FakeApi, after: float = 1.0) -> None:
    """Let a controller manager make the service account of each new namespace, some seconds after it."""

    def created(resource: str, _item: Json) -> None:
        if resource == NAMESPACES:
            account = {"metadata": {"name": "default"}}
            asyncio.get_running_loop().call_later(after, api.put, "serviceaccounts", account)

    api.created = created


def missing(api: FakeApi) -> Fault:
    """Refuse what is to be made in a namespace that is not there."""

    async def fault(asked: Asked) -> Refusal | None:
        there = "khealth" in api.objects.get(NAMESPACES, {})
        inside = asked.verb == "create" and asked.resource != NAMESPACES
        return refusal(404, 'namespaces "khealth" not found', "NotFound") if inside and not there else None

    return fault


@virtual
async def test_it_is_made_restricted_and_marked() -> None:
    """Its labels keep everything in it to the restricted standard, and say who made it."""
    api = FakeApi(virtual_clock())
    attended(api)
    made = keeper(api)
    await made.make(DEADLINE)
    labels = api.objects[NAMESPACES]["khealth"]["metadata"]["labels"]
    assert ("restricted", "khealth") == (
        labels["pod-security.kubernetes.io/enforce"],
        labels["app.kubernetes.io/managed-by"],
    )
    assert made.made


@virtual
async def test_it_is_waited_for_until_it_can_hold_pods() -> None:
    """Without its service account every pod is refused."""
    api = FakeApi(virtual_clock())
    attended(api, after=3.0)
    await keeper(api).make(DEADLINE)
    assert 3.0 < api.clock.now() - BEGINNING < 3.5


@virtual
async def test_who_may_not_look_at_service_accounts_does_not_wait() -> None:
    """That right is optional."""
    api = FakeApi(virtual_clock())
    api.faults.append(refusing("get", resource="serviceaccounts", by=FORBIDDEN))
    await keeper(api).make(DEADLINE)
    assert api.clock.now() - BEGINNING < 1.0


@virtual
async def test_a_service_account_that_never_comes_is_not_waited_for_beyond_the_deadline() -> None:
    """Whether pods are refused is then for the attempt to find out."""
    api = FakeApi(virtual_clock())
    await keeper(api).make(DEADLINE)
    assert DEADLINE - 0.5 <= api.clock.now() <= DEADLINE


@virtual
async def test_what_somebody_else_made_meanwhile_is_not_ours() -> None:
    """It exists: good, and not to be removed in the end."""
    api = FakeApi(virtual_clock())
    api.put(NAMESPACES, namespaced())
    api.put("serviceaccounts", {"metadata": {"name": "default"}})
    made = keeper(api)
    await made.make(DEADLINE)
    assert not made.made


@virtual
async def test_what_an_unanswered_try_of_ours_made_is_ours() -> None:
    """It exists because an earlier try went through: it is removed in the end."""
    api = FakeApi(virtual_clock())
    api.put("serviceaccounts", {"metadata": {"name": "default"}})

    async def twice(asked: Asked) -> None:
        if asked.verb == "create":
            raise Refused(refusal(409, "already exists", "AlreadyExists"), "create", tries=2, unanswered=True)

    api.faults.append(twice)
    made = keeper(api)
    await made.make(DEADLINE)
    assert made.made


@virtual
async def test_who_may_not_make_it_says_so() -> None:
    """The note says what is missing, and what is forbidden."""
    api = FakeApi(virtual_clock())
    api.faults.append(refusing("create", by=FORBIDDEN))
    with pytest.raises(Failed, match="namespace khealth does not exist, and khealth may not create it") as raised:
        await keeper(api).make(DEADLINE)
    assert Reason.FORBIDDEN is raised.value.reason


@virtual
async def test_a_failure_to_make_it_is_raised_as_it_is() -> None:
    """An API server that does not answer is no matter of rights."""
    api = FakeApi(virtual_clock())
    api.faults.append(refusing("create", by=UNAVAILABLE))
    with pytest.raises(Refused) as raised:
        await keeper(api).make(DEADLINE)
    assert Reason.API_ERROR is raised.value.reason


@virtual
async def test_a_missing_namespace_is_made_with_the_first_controller() -> None:
    """Only where it is missing: a namespace that is there costs no request."""
    api = FakeApi(virtual_clock())
    attended(api)
    api.faults.append(missing(api))
    await cluster_of(api).create(REPLICATION_CONTROLLER, {"metadata": {"name": "c"}}, DEADLINE)
    expected = [("create", "replicationcontrollers"), ("create", NAMESPACES), ("create", "replicationcontrollers")]
    assert expected == [(asked.verb, asked.resource) for asked in api.asked if asked.verb == "create"]


@virtual
async def test_a_namespace_that_is_there_costs_no_request() -> None:
    """One request makes a controller."""
    api = FakeApi(virtual_clock())
    await cluster_of(api).create(REPLICATION_CONTROLLER, {"metadata": {"name": "c"}}, DEADLINE)
    assert ["create"] == [asked.verb for asked in api.asked]


@pytest.mark.parametrize("there", [False, True])
def test_a_namespace_that_is_well_or_missing_is_not_waited_for(*, there: bool) -> None:
    """One look is enough."""

    async def scenario() -> None:
        api = FakeApi(virtual_clock())
        if there:
            api.put(NAMESPACES, namespaced())
        await keeper(api).settled(DEADLINE)
        assert 1 == len(api.asked)

    run(scenario())


@virtual
async def test_a_namespace_that_is_being_deleted_is_waited_for() -> None:
    """Until it is gone."""
    api = FakeApi(virtual_clock())
    api.put(NAMESPACES, namespaced(leaving=True))
    asyncio.get_running_loop().call_later(5.0, api.remove, NAMESPACES, "khealth")
    await keeper(api).settled(DEADLINE)
    assert 5.0 < api.clock.now() - BEGINNING < 5.5


@virtual
async def test_a_namespace_that_does_not_go_is_told_at_the_deadline() -> None:
    """It says nothing of the cluster's health: interrupted."""
    api = FakeApi(virtual_clock())
    api.put(NAMESPACES, namespaced(leaving=True))
    with pytest.raises(Failed) as raised:
        await keeper(api).settled(DEADLINE)
    assert Reason.INTERRUPTED is raised.value.reason
    assert DEADLINE - 0.5 <= api.clock.now() <= DEADLINE


@virtual
async def test_an_api_server_that_does_not_say_is_not_waited_for() -> None:
    """To wait for that is an attempt's business."""
    api = FakeApi(virtual_clock())
    api.faults.append(hanging("get"))
    with pytest.raises(Refused):
        await keeper(api).settled(BEGINNING + 300.0)
    assert api.clock.now() - BEGINNING <= 5.0


@virtual
async def test_what_it_did_not_make_it_does_not_remove() -> None:
    """A namespace that was there before stays, without a request."""
    api = FakeApi(virtual_clock())
    assert await keeper(api).remove(DEADLINE)
    assert [] == api.asked


async def removed(api: FakeApi) -> bool:
    made = keeper(api)
    made.made = True
    return await made.remove(DEADLINE)


@virtual
async def test_what_it_made_it_removes_and_waits_for() -> None:
    """Nothing of it is left."""
    api = FakeApi(virtual_clock())
    api.put(NAMESPACES, namespaced())
    api.deleted = lambda _resource, _item, _options: False
    asyncio.get_running_loop().call_later(4.0, api.remove, NAMESPACES, "khealth")
    assert await removed(api)
    assert 4.0 < api.clock.now() - BEGINNING < 4.5


@virtual
async def test_what_is_gone_already_is_removed() -> None:
    """Somebody else was faster."""
    assert await removed(FakeApi(virtual_clock()))


@virtual
async def test_what_does_not_go_is_told() -> None:
    """Until the deadline, and no longer."""
    api = FakeApi(virtual_clock())
    api.put(NAMESPACES, namespaced())
    api.deleted = lambda _resource, _item, _options: False
    assert not await removed(api)
    assert api.clock.now() <= DEADLINE


@pytest.mark.parametrize("verb", ["delete", "get"])
@pytest.mark.parametrize("why", [FORBIDDEN, UNREACHABLE], ids=["forbidden", "unreachable"])
def test_a_removal_that_is_refused_is_told_and_not_raised(verb: str, why: Refusal) -> None:
    """What was found in the attempts is not lost with it."""

    async def scenario() -> None:
        api = FakeApi(virtual_clock())
        api.put(NAMESPACES, namespaced())
        api.deleted = lambda _resource, _item, _options: False
        api.faults.append(refusing(verb, by=why))
        assert not await removed(api)

    run(scenario())


@virtual
async def test_an_answer_that_cannot_be_read_is_an_error_of_the_api() -> None:
    """A proxy's page under 200 is not khealth's own fault."""
    api = FakeApi(virtual_clock())
    api.faults.append(garbled)
    with pytest.raises(Failed) as raised:
        await keeper(api).settled(DEADLINE)
    assert Reason.API_ERROR is raised.value.reason
