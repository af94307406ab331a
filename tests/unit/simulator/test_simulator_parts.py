"""The simulator's smaller parts: queues, delays, tolerations, Events, the truth."""

import asyncio
import random
from typing import Any

import pytest

from khealth_exporter.simulator import FAULTS, Delay, Delays
from khealth_exporter.simulator.admission import Admission
from khealth_exporter.simulator.controllers.scheduler import tolerates
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.faults import MOMENTARY, NODE_FAULTS, Faults, parse
from khealth_exporter.simulator.json_patch import apply
from khealth_exporter.simulator.recorder import Occurrence, Recorder, Source
from khealth_exporter.simulator.registry import Registry
from khealth_exporter.simulator.request_info import parse as parse_request
from khealth_exporter.simulator.resources import EVENTS, NAMESPACES, PODS, SERVICE_ACCOUNTS
from khealth_exporter.simulator.selection import Selector
from khealth_exporter.simulator.store import Store
from khealth_exporter.simulator.truth import TruthLog
from khealth_exporter.simulator.workqueue import WorkQueue


def seeded(seed: int) -> random.Random:
    """Return a generator that draws the same each time."""
    return random.Random(seed)  # the same numbers each time are the point


def new_registry(faults: Faults | None = None) -> Registry:
    """Return a registry whose namespace `n` takes pods."""
    store = Store(history_limit=100)
    registry = Registry(store, Admission(store, faults or Faults()), seeded(1), lambda: 1000.0)
    registry.create(NAMESPACES, "", {"metadata": {"name": "n"}})
    registry.create(SERVICE_ACCOUNTS, "n", {"metadata": {"name": "default"}})
    return registry


def pod(name: str) -> dict[str, Any]:
    """Return a pod."""
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


async def test_queue_holds_a_key_once_and_works_on_it_alone() -> None:
    """What is added during the work is looked at again afterwards."""
    queue: WorkQueue[str] = WorkQueue(speed=1.0)
    looked, done = list[str](), asyncio.Event()

    async def look(key: str) -> None:
        looked.append(key)
        if len(looked) == 1:
            queue.add("a")
            queue.add("a")
            queue.add("b")
        if len(looked) == 3:
            done.set()
        await asyncio.sleep(0)

    queue.add("a")
    queue.add("a")
    workers = [asyncio.create_task(queue.work(look)) for _ in range(2)]
    await done.wait()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(looked) == ["a", "a", "b"]


def test_queue_backs_off_by_powers_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 5 ms on, and from there again once the key is forgotten."""
    queue: WorkQueue[str] = WorkQueue(speed=1.0)
    waits = list[float]()
    monkeypatch.setattr(queue, "add_after", lambda _key, seconds: waits.append(seconds))
    for _ in range(4):
        queue.add_failed("a")
    queue.forget("a")
    queue.add_failed("a")
    assert waits == [0.005, 0.01, 0.02, 0.04, 0.005]


def test_delays_are_drawn_around_their_median() -> None:
    """The same seed draws the same; none is longer than six medians."""
    drawn = sorted(Delay(0.4, 0.5).draw(generator) for generator in [seeded(1)] for _ in range(1001))
    assert drawn[500] == pytest.approx(0.4, rel=0.1)
    assert drawn[-1] <= 6 * 0.4
    assert Delays().start.draw(seeded(7)) == Delays().start.draw(seeded(7))


@pytest.mark.parametrize(
    ("toleration", "wanted"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "other"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration: Any, wanted: bool) -> None:
    """Key, value and effect each narrow it."""
    assert tolerates(toleration, {"key": "k", "value": "v", "effect": "NoSchedule"}) is wanted


def test_events_are_counted_and_bounded() -> None:
    """Equal ones are one object; the oldest go."""
    registry = new_registry()
    recorder = Recorder(registry, limit=3)
    about = registry.create(PODS, "n", pod("a"))
    for reason in ("one", "two", "two", "three", "four"):
        recorder.record(Source("test"), PODS, about, Occurrence("Normal", reason, "message"))
    kept = {
        record.document["reason"]: record.document["count"]
        for _, record in registry.store.records(EVENTS, Selector("n"))
    }
    assert kept == {"two": 2, "three": 1, "four": 1}


def test_truth_keeps_the_latest_pods() -> None:
    """And the first time of each milestone."""
    registry, clock = new_registry(), iter(float(number) for number in range(100))
    truth = TruthLog(lambda: next(clock), limit=2)
    registry.store.listen(truth.listen)
    for name in ("a", "b", "c"):
        registry.create(PODS, "n", pod(name))
    assert [known.name for known in truth.pods.values()] == ["b", "c"]
    assert [known.created for known in truth.pods.values()] == [1.0, 2.0]


def test_faults_that_are_known() -> None:
    """Each has its line; the special ones are among them."""
    assert all(FAULTS.values())
    assert set(FAULTS) >= MOMENTARY | set(NODE_FAULTS)
    assert parse("kubelet-stalled:node-1") == ("kubelet-stalled", "node-1")


def test_faults_of_one_node_leave_the_others_alone() -> None:
    """`NAME` is every node, `NAME:NODE` is one."""
    faults = Faults()
    faults.begin("never-ready:node-1")
    assert [faults.active("never-ready", node) for node in ("node-1", "node-2", "")] == [True, False, False]
    faults.begin("never-ready")
    assert faults.active("never-ready", "node-2")


async def test_clear_waits_for_all_faults_at_once() -> None:
    """One that begins while another ends holds on."""
    faults = Faults()
    faults.begin("api-down")
    waiting = asyncio.create_task(faults.clear("api-down", "etcd-stalled"))
    await asyncio.sleep(0)
    faults.begin("etcd-stalled")
    faults.end("api-down")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    faults.end("etcd-stalled")
    await waiting


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/api/v1/pods", ("list", "pods", "", "", "")),
        ("GET", "/api/v1/namespaces", ("list", "namespaces", "", "", "")),
        ("GET", "/api/v1/namespaces/n", ("get", "namespaces", "n", "n", "")),
        ("PATCH", "/api/v1/namespaces/n/status", ("patch", "namespaces", "n", "n", "status")),
        ("DELETE", "/api/v1/namespaces/n/pods", ("deletecollection", "pods", "n", "", "")),
        ("POST", "/api/v1/namespaces/n/pods/p/eviction", ("create", "pods", "n", "p", "eviction")),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", ("update", "leases", "n", "l", "")),
    ],
)
def test_request_paths(method: str, path: str, wanted: tuple[str, ...]) -> None:
    """Verbs as the audit log names them."""
    info = parse_request(method, path, {})
    assert info is not None
    assert wanted == (info.verb, info.resource.plural, info.namespace, info.name, info.subresource)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/namespaces/n/foos", 404),
        ("GET", "/api/v1/namespaces/n/configmaps/c/status", 404),
        ("POST", "/api/v1/namespaces/n/pods/p", 405),
        ("PUT", "/api/v1/namespaces/n/pods", 405),
    ],
)
def test_paths_that_are_not_served(method: str, path: str, code: int) -> None:
    """404 for what is unknown, 405 for what makes no sense."""
    with pytest.raises(ApiError) as refusal:
        parse_request(method, path, {})
    assert refusal.value.code == code


def test_json_patch_on_lists() -> None:
    """Appending, inserting, removing, replacing; the document itself stays."""
    document = {"a": [1, 2], "b/c": 1}
    steps = [
        {"op": "add", "path": "/a/-", "value": 3},
        {"op": "add", "path": "/a/0", "value": 0},
        {"op": "remove", "path": "/a/1"},
        {"op": "replace", "path": "/a/0", "value": 9},
        {"op": "remove", "path": "/b~1c"},
    ]
    assert apply(document, steps) == {"a": [9, 2, 3]}
    assert document == {"a": [1, 2], "b/c": 1}
