"""ConfigMaps over HTTP: every verb, as a real Kubernetes 1.37 answers it."""

from typing import Any

import pytest
from integration.simulator.simulator_client import BOUND, NAMESPACE, PODS, Client, Reply, pod, status

from khealth_exporter.simulator import Simulator

MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
CHANGED = "the object has been modified; please apply your changes to the latest version and try again"


def config_map(name: str, value: str = "1", **about: Any) -> dict[str, Any]:
    """Return a ConfigMap with one entry."""
    return {"metadata": {"name": name, **about}, "data": {"value": value}}


def revision(reply: Reply) -> str:
    """Return the resourceVersion of the object or list."""
    return str(reply.body["metadata"]["resourceVersion"])


async def names(client: Client, query: str) -> list[str]:
    """List with the query, and return the names."""
    return [item["metadata"]["name"] for item in (await client.get(f"{MAPS}?{query}")).body["items"]]


async def test_read_returns_what_was_created(client: Client) -> None:
    """Create and get answer with the same object."""
    made = await client.post(MAPS, config_map("a"))
    assert (201, {"value": "1"}, "ConfigMap") == (made.code, made.body["data"], made.body["kind"])
    assert made.body == (await client.get(f"{MAPS}/a")).body


async def test_update_with_the_latest_version_succeeds(client: Client) -> None:
    """The resourceVersion grows; without one, the update is unconditional."""
    made = await client.post(MAPS, config_map("a"))
    updated = await client.put(f"{MAPS}/a", config_map("a", "2", resourceVersion=revision(made)))
    forced = await client.put(f"{MAPS}/a", config_map("a", "3"))
    assert [200, 200, {"value": "3"}] == [updated.code, forced.code, forced.body["data"]]
    assert int(revision(made)) < int(revision(updated)) < int(revision(forced))


async def test_update_with_an_older_version_conflicts(client: Client) -> None:
    """409, for PUT and PATCH, and nothing changes."""
    made = await client.post(MAPS, config_map("a"))
    latest = await client.put(f"{MAPS}/a", config_map("a", "2"))
    stale = config_map("a", "3", resourceVersion=revision(made))
    message = f'Operation cannot be fulfilled on configmaps "a": {CHANGED}'
    expected = status(409, "Conflict", message, name="a", kind="configmaps")
    assert expected == (await client.put(f"{MAPS}/a", stale)).body
    assert expected == (await client.patch(f"{MAPS}/a", stale)).body
    assert latest.body == (await client.get(f"{MAPS}/a")).body


async def test_update_with_another_uid_conflicts(client: Client) -> None:
    """The storage's own words, whatever the resourceVersion."""
    uid = (await client.post(MAPS, config_map("a"))).body["metadata"]["uid"]
    reply = await client.put(f"{MAPS}/a", config_map("a", uid="123", resourceVersion="1"))
    message = (
        'Operation cannot be fulfilled on configmaps "a": StorageError: invalid object, Code: 4, '
        f"Key: /registry/configmaps/{NAMESPACE}/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: "
        f"UID in precondition: 123, UID in object meta: {uid}"
    )
    assert status(409, "Conflict", message, name="a", kind="configmaps") == reply.body


async def test_update_of_nothing_is_not_found(client: Client) -> None:
    """A PUT does not create."""
    expected = status(404, "NotFound", 'configmaps "a" not found', name="a", kind="configmaps")
    assert expected == (await client.put(f"{MAPS}/a", config_map("a"))).body


async def test_update_with_a_malformed_version_is_an_error(client: Client) -> None:
    """500 without a reason, as the real server has it."""
    await client.post(MAPS, config_map("a"))
    reply = await client.put(f"{MAPS}/a", config_map("a", resourceVersion="abc"))
    assert (500, 'strconv.ParseUint: parsing "abc": invalid syntax') == (reply.code, reply.message)
    assert "reason" not in reply.body


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (
            {"data": {"a b": "1"}},
            422,
            (
                'ConfigMap "a" is invalid: data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric '
                "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
                "'[-._a-zA-Z0-9]+')"
            ),
        ),
        (
            {"data": {"k": "v"}, "binaryData": {"k": "AAAA"}},
            422,
            'ConfigMap "a" is invalid: data[k]: Invalid value: "k": duplicate of key present in binaryData',
        ),
        (
            {"data": {"k": 1}},
            400,
            (
                'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct '
                "field ConfigMap.data of type string"
            ),
        ),
        (
            {"data": ["k"]},
            400,
            (
                'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal array into Go struct '
                "field ConfigMap.data of type map[string]string"
            ),
        ),
        (
            {"binaryData": {"k": "!"}},
            400,
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: illegal base64 data at input byte 0',
        ),
    ],
)
async def test_invalid_config_maps_are_refused(client: Client, content: Any, code: int, message: str) -> None:
    """400 for what cannot be decoded, 422 for what breaks a rule."""
    reply = await client.post(MAPS, {"metadata": {"name": "a"}, **content})
    assert (code, message) == (reply.code, reply.message)


async def test_immutable_config_map_keeps_its_data(client: Client) -> None:
    """422 for its data, and for the mark itself."""
    await client.post(MAPS, {**config_map("a"), "immutable": True})
    data = await client.put(f"{MAPS}/a", {**config_map("a", "2"), "immutable": True})
    mark = await client.put(f"{MAPS}/a", config_map("a"))
    forbidden = "Forbidden: field is immutable when `immutable` is set"
    assert (422, f'ConfigMap "a" is invalid: data: {forbidden}') == (data.code, data.message)
    assert (422, f'ConfigMap "a" is invalid: immutable: {forbidden}') == (mark.code, mark.message)


async def test_list_selects_by_label_and_name(client: Client) -> None:
    """Both selectors, and both at once."""
    await client.post(MAPS, config_map("a", labels={"app": "x"}))
    await client.post(MAPS, config_map("b", labels={"app": "x"}))
    await client.post(MAPS, config_map("c"))
    assert ["a", "b"] == await names(client, "labelSelector=app%3Dx")
    assert ["c"] == await names(client, "fieldSelector=metadata.name%3Dc")
    assert ["b"] == await names(client, "labelSelector=app%3Dx&fieldSelector=metadata.name%3Db")


async def test_unknown_field_selector_is_refused(client: Client) -> None:
    """The message names the two fields that every resource has."""
    reply = await client.get(f"{MAPS}?fieldSelector=data.value%3D1")
    message = '"data.value" is not a known field selector: only "metadata.name", "metadata.namespace"'
    assert (400, message) == (reply.code, reply.message)


async def test_watch_from_a_version_shows_later_changes_of_one_name(client: Client) -> None:
    """The update and the deletion; nothing of another ConfigMap."""
    made = await client.post(MAPS, config_map("a"))
    query = {"resourceVersion": revision(made), "fieldSelector": "metadata.name=a"}
    async with client.watch(MAPS, **query) as watcher:
        await client.post(MAPS, config_map("b"))
        updated = await client.put(f"{MAPS}/a", config_map("a", "2"))
        assert {"type": "MODIFIED", "object": updated.body} == await watcher.next()
        await client.delete(f"{MAPS}/a")
        assert "DELETED" == (await watcher.next())["type"]


async def test_watch_by_label_with_bookmarks(client: Client) -> None:
    """A ConfigMap that gains the label is added; the bookmark marks the end of the present state."""
    await client.post(MAPS, config_map("a"))
    async with client.watch(MAPS, labelSelector="app=x", allowWatchBookmarks="true") as watcher:
        first = await watcher.next()
        assert ("BOOKMARK", "ConfigMap") == (first["type"], first["object"]["kind"])
        await client.patch(f"{MAPS}/a", {"metadata": {"labels": {"app": "x"}}})
        assert "ADDED" == (await watcher.next())["type"]


async def test_delete_checks_the_uid(client: Client) -> None:
    """409 for another uid; the right one deletes, and the answer is a Status with the uid."""
    uid = (await client.post(MAPS, config_map("a"))).body["metadata"]["uid"]
    refused = await client.delete(f"{MAPS}/a", {"preconditions": {"uid": "123"}})
    message = (
        'Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (123) does not match the UID in '
        f"record ({uid}). The object might have been deleted and then recreated"
    )
    assert status(409, "Conflict", message, name="a", kind="ConfigMap") == refused.body
    deleted = await client.delete(f"{MAPS}/a", {"preconditions": {"uid": uid}})
    success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    assert success | {"details": {"name": "a", "kind": "configmaps", "uid": uid}} == deleted.body
    assert 404 == (await client.get(f"{MAPS}/a")).code


async def test_config_map_goes_with_the_pod_that_owns_it(client: Client) -> None:
    """The garbage collector follows owner references to Pods."""
    owner = (await client.post(PODS, pod("khealth"))).body
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "khealth", "uid": owner["metadata"]["uid"]}
    await client.post(MAPS, config_map("a", ownerReferences=[reference]))
    await client.delete(f"{PODS}/khealth", {"gracePeriodSeconds": 0})
    await client.vanishes(MAPS, "a")


async def test_config_map_goes_with_its_namespace(client: Client) -> None:
    """Nothing is left when the namespace is gone."""
    await client.post(MAPS, config_map("a"))
    await client.delete(f"/api/v1/namespaces/{NAMESPACE}")
    await client.vanishes("/api/v1/namespaces", NAMESPACE)
    assert [] == (await client.get(MAPS)).body["items"]


async def test_stale_reads_return_the_version_before_the_last_change(client: Client, simulator: Simulator) -> None:
    """Get and list lag behind an acknowledged update, and are right again when the fault ends."""
    made = await client.post(MAPS, config_map("a"))
    simulator.begin("stale-reads")
    updated = await client.put(f"{MAPS}/a", config_map("a", "2", resourceVersion=revision(made)))
    assert made.body == (await client.get(f"{MAPS}/a")).body
    listed = await client.get(f"{MAPS}?fieldSelector=metadata.name%3Da")
    assert [revision(made)] == [item["metadata"]["resourceVersion"] for item in listed.body["items"]]
    simulator.end("stale-reads")
    assert updated.body == (await client.get(f"{MAPS}/a")).body


async def test_stale_reads_select_by_the_earlier_labels(client: Client, simulator: Simulator) -> None:
    """A label that the last change removed still selects."""
    await client.post(MAPS, config_map("a", labels={"app": "x"}))
    await client.put(f"{MAPS}/a", config_map("a"))
    simulator.begin("stale-reads")
    assert ["a"] == await names(client, "labelSelector=app%3Dx")


async def test_stale_reads_leave_new_config_maps_and_watches_alone(client: Client, simulator: Simulator) -> None:
    """What was not changed since its creation has no earlier version, and a watch shows the update."""
    simulator.begin("stale-reads")
    made = await client.post(MAPS, config_map("a"))
    assert made.body == (await client.get(f"{MAPS}/a")).body
    async with client.watch(MAPS, resourceVersion=revision(made)) as watcher:
        updated = await client.put(f"{MAPS}/a", config_map("a", "2"))
        assert {"type": "MODIFIED", "object": updated.body} == await watcher.next(BOUND)


async def test_watch_after_a_stale_list_shows_what_the_list_lacks(client: Client, simulator: Simulator) -> None:
    """The list's resourceVersion is older than the change that it hides."""
    await client.post(MAPS, config_map("a"))
    updated = await client.put(f"{MAPS}/a", config_map("a", "2"))
    simulator.begin("stale-reads")
    listed = await client.get(MAPS)
    async with client.watch(MAPS, resourceVersion=revision(listed)) as watcher:
        assert {"type": "MODIFIED", "object": updated.body} == await watcher.next()


async def test_stale_creates_hide_what_is_created_until_the_fault_ends(client: Client, simulator: Simulator) -> None:
    """Get answers 404 and a list lacks it, as do no reads of what was there before; writes see everything."""
    old = await client.post(MAPS, config_map("a"))
    simulator.begin("stale-creates")
    made = await client.post(MAPS, config_map("b"))
    assert (old.body, 404) == ((await client.get(f"{MAPS}/a")).body, (await client.get(f"{MAPS}/b")).code)
    assert ["a"] == await names(client, "fieldSelector=metadata.name!%3Dkube-root-ca.crt")
    assert 200 == (await client.put(f"{MAPS}/b", config_map("b", "2", resourceVersion=revision(made)))).code
    simulator.end("stale-creates")
    assert {"value": "2"} == (await client.get(f"{MAPS}/b")).body["data"]


async def test_stale_creates_hide_no_later_change(client: Client, simulator: Simulator) -> None:
    """A deleted ConfigMap of that name is gone as well, and an update of an older one is shown."""
    await client.post(MAPS, config_map("a"))
    simulator.begin("stale-creates")
    updated = await client.put(f"{MAPS}/a", config_map("a", "2"))
    await client.post(MAPS, config_map("b"))
    await client.delete(f"{MAPS}/b")
    simulator.end("stale-creates")
    assert (updated.body, 404) == ((await client.get(f"{MAPS}/a")).body, (await client.get(f"{MAPS}/b")).code)


async def test_watch_after_a_list_that_lacks_a_create_shows_it(client: Client, simulator: Simulator) -> None:
    """The list's resourceVersion is older than what it hides."""
    simulator.begin("stale-creates")
    made = await client.post(MAPS, config_map("a"))
    listed = await client.get(MAPS)
    async with client.watch(MAPS, resourceVersion=revision(listed)) as watcher:
        assert {"type": "ADDED", "object": made.body} == await watcher.next()
