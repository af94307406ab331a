"""What is read of Kubernetes' objects, however absurd they are."""

import json
from typing import Any

import msgspec
import pytest
from documents import RUNNING, a_node, a_pod, container, containers, node, pod, ready, terminated, waiting
from hypothesis import example, given
from hypothesis import strategies as st

from khealth_exporter.cluster.decoding import RawList, WatchLine, decode, parse
from khealth_exporter.cluster.objects import (
    KubernetesEvent,
    KubernetesObject,
    Node,
    Pod,
    unix_time,
)
from khealth_exporter.cluster.volumes import PersistentVolume, PersistentVolumeClaim, StorageClass
from khealth_exporter.cluster.workloads import Deployment, Job, ReplicationController

KINDS = (
    Pod, ReplicationController, Node, KubernetesEvent, KubernetesObject, Deployment, Job,
    PersistentVolumeClaim, PersistentVolume, StorageClass,
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "metadata",
        "spec",
        "status",
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "conditions",
        "type",
        "reason",
        "message",
        "containerStatuses",
        "containers",
        "state",
        "lastState",
        "waiting",
        "running",
        "terminated",
        "exitCode",
        "restartCount",
        "ready",
        "nodeName",
        "unschedulable",
        "taints",
        "key",
        "effect",
        "involvedObject",
        "controller",
    ]
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4)
)
ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner),
    max_leaves=25,
)


@given(st.sampled_from(KINDS), ANY)
@example(Pod, {"metadata": {"generation": 10**30}})
@example(Pod, {"metadata": {"generation": "nan"}})
@example(Pod, {"metadata": {"labels": {"a": None}}})
@example(Pod, {"status": {"containerStatuses": [{"state": {"running": "yes"}}]}})
def test_any_json_makes_an_object(kind: type[KubernetesObject], value: Any) -> None:
    """Whatever an API server sends, as long as it is JSON: there is an object, if perhaps an empty one."""
    assert isinstance(decode(kind, json.dumps(value).encode()), kind)


@given(st.sampled_from(KINDS), st.binary(max_size=60))
@example(Pod, b'{"metadata":{"name":"\xff"}}')
@example(Pod, b"[" * 100_000)
@example(Pod, b'{"metadata":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}")
@example(Pod, b'{"metadata":' + b"[" * 700 + b"]" * 700 + b"}")
@example(Pod, b'{"metadata":{"generation":1e400}}')
def test_no_bytes_raise_anything_but_msgspecs_own(kind: type[KubernetesObject], raw: bytes) -> None:
    """Half an answer, or none of JSON at all: what is raised is the one kind that callers expect."""
    try:
        decode(kind, raw)
    except msgspec.MsgspecError as error:
        assert isinstance(error, ValueError)


@given(st.sampled_from([WatchLine, RawList, KubernetesObject, object]), st.binary(max_size=60))
@example(WatchLine, b'{"type":"\xff"}')
@example(RawList, b'{"items":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
def test_parsing_raises_msgspecs_own_alone(kind: type[object], raw: bytes) -> None:
    """As for objects, so for the envelopes that they come in."""
    try:
        parse(kind, raw)
    except msgspec.MsgspecError as error:
        assert isinstance(error, msgspec.DecodeError)


@given(ANY, st.dictionaries(KEYS, ANY))
def test_what_identifies_an_object_survives_absurd_fields(spec: Any, status: dict[str, Any]) -> None:
    """Name, uid and version are read whatever the rest of the object is like."""
    metadata = {"name": "a", "uid": "u", "resourceVersion": "7", "labels": {"x": "y"}}
    found = decode(Pod, json.dumps({"metadata": metadata, "spec": spec, "status": status}).encode())
    assert ("a", "u", "7") == (found.name, found.uid, found.metadata.resource_version)


@pytest.mark.parametrize(
    "document",
    [
        {"metadata": None, "spec": None, "status": None},
        {"metadata": {"labels": None, "ownerReferences": None}, "spec": {"containers": None}},
        {"status": {"conditions": [None], "containerStatuses": [None, {"state": None, "lastState": None}]}},
        {},
    ],
)
def test_null_reads_as_missing(document: dict[str, Any]) -> None:
    """Defaults stand in for nulls, at any depth."""
    found = a_pod(document)
    assert ("", {}, []) == (found.name, found.metadata.labels, found.status.conditions)


def test_unknown_fields_are_ignored() -> None:
    """A newer API server may say more than we read."""
    assert "a" == a_pod({"metadata": {"name": "a", "managedFields": [{"x": 1}]}, "new": {"field": True}}).name


@pytest.mark.parametrize(
    ("state", "last", "started"),
    [
        (RUNNING, None, True),
        ({"running": {}}, None, True),
        ({"running": None}, None, False),
        (terminated(0, "Completed"), None, True),
        (waiting("ContainerCreating"), None, False),
        (waiting("CrashLoopBackOff"), terminated(), True),
        ({}, None, False),
    ],
)
def test_a_container_has_started_that_runs_or_has_run(state: Any, last: Any, started: bool) -> None:
    """A running state without a start time is running all the same."""
    assert started is a_pod(containers(pod(), container(state, last=last))).started


@pytest.mark.parametrize(("status", "holds"), [("True", True), ("False", False), ("Unknown", False), ("", False)])
def test_a_condition_holds_that_is_true(status: str, holds: bool) -> None:
    """Unknown is not True."""
    assert holds is a_pod({"status": {"conditions": [{"type": "Ready", "status": status}]}}).holds("Ready")


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_ended_will_never_run_again(phase: str) -> None:
    """Both phases are final."""
    assert a_pod({"status": {"phase": phase}}).ended


def test_a_pod_that_runs_has_not_ended() -> None:
    """Neither has one that waits."""
    assert not a_pod(ready(pod())).ended


@pytest.mark.parametrize(
    ("document", "cordoned"),
    [
        (node(), False),
        (node(cordoned=True), True),
        (node(taints=("ToBeDeletedByClusterAutoscaler",)), True),
        (node(taints=("karpenter.sh/disrupted",)), True),
        (node(taints=("karpenter.sh/disruption",)), True),
        (node(taints=("node.kubernetes.io/not-ready:NoExecute",)), False),
        ({**node(), "metadata": {"name": "node-1", "deletionTimestamp": "2026-11-23T14:30:00Z"}}, True),
    ],
)
def test_a_node_that_is_taken_out_of_service_is_cordoned(document: dict[str, Any], cordoned: bool) -> None:
    """By people, by an autoscaler, or because it is being deleted."""
    assert cordoned is a_node(document).cordoned


@pytest.mark.parametrize(("status", "is_ready"), [("True", True), ("False", False), ("Unknown", False)])
def test_a_node_is_ready_that_says_so(status: str, is_ready: bool) -> None:
    """Silence (Unknown) is not health."""
    assert is_ready is a_node(node(ready=status)).ready


@pytest.mark.parametrize(
    ("text", "unix"),
    [
        ("1970-01-01T00:00:10Z", 10.0),
        ("2026-11-23T14:30:00Z", 1795444200.0),
        ("2026-11-23T14:30:00.123456Z", 1795444200.123456),
        ("", None),
        ("yesterday", None),
        ("2026-13-01T00:00:00Z", None),
    ],
)
def test_timestamps_are_read(text: str, unix: float | None) -> None:
    """In Unix seconds; None for what is no time."""
    assert unix == unix_time(text)


@given(
    st.text(max_size=30) | st.from_regex(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?)?", fullmatch=True)
)
@example("0001-01-01T00:00:00+14:00")
@example("9999-12-31T23:59:59-14:00")
@example("0001-01-01")
def test_no_timestamp_raises(text: str) -> None:
    """Whatever stands in the field."""
    assert isinstance(unix_time(text), float | None)
