"""How faults of the network are made: of DNS, of packets between pods, and of agents."""

import json
import os
import secrets
import signal
import subprocess
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks import wrong_dns
from benchmarks.breaking import Fault, Scene, create
from benchmarks.harness import kubectl

PODS, API = "198.18.64.0/18", "198.18.0.1"
"""The test cluster's pods, and where its nodes find the API server."""
DNS = ("--namespace", "kube-system")
_WRONG = "bench-wrong-dns"
AGENT = "app.kubernetes.io/component=agent"
_WITHIN = "--timeout=60s"
_SERVFAIL = ".:53 {\n  errors\n  health\n  ready\n}\n"
"""No plugin that knows a name."""

Pod = Mapping[str, Any]


def dropped(node: str, *rule: str) -> Fault:
    """Let a node drop what it forwards, and tell nobody, as far as a rule of iptables says."""

    @contextmanager
    def fault(_: Scene) -> Iterator[None]:
        try:
            iptables(node, "-I", "FORWARD", *rule, "-j", "DROP")
            yield
        finally:
            iptables(node, "-D", "FORWARD", *rule, "-j", "DROP")

    return fault


@contextmanager
def no_dns(_: Scene) -> Iterator[None]:
    """Run no DNS pod."""
    try:
        _scaled(0)
        yield
    finally:
        _scaled(2)


@contextmanager
def dns_fails(_: Scene) -> Iterator[None]:
    """Let every DNS pod answer SERVFAIL."""
    known = json.loads(kubectl(*DNS, "get", "configmap", "coredns", "-o", "json"))["data"]
    try:
        _configured({"Corefile": _SERVFAIL})
        yield
    finally:
        _configured(known)


@contextmanager
def dns_lies(scene: Scene) -> Iterator[None]:
    """Let the only DNS pod say the same of every name."""
    script = Path(wrong_dns.__file__).read_text(encoding="utf-8")
    container = {"name": "dns", "image": scene.image, "command": ["python3", "-c", script]}
    metadata = {"name": _WRONG, "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    spec = {"containers": [{**container, "securityContext": {"runAsUser": 0, "runAsNonRoot": False}}]}
    try:
        create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        kubectl(*DNS, "wait", "--for=condition=Ready", _WITHIN, f"pod/{_WRONG}")
        _scaled(0)
        yield
    finally:
        _scaled(2)
        kubectl(*DNS, "delete", "pod", _WRONG, "--ignore-not-found", "--grace-period=1")


@contextmanager
def dns_paused(_: Scene) -> Iterator[None]:
    """Stop the processes of one DNS pod, with its sockets open (SIGSTOP)."""
    with _frozen(next(pods("k8s-app=kube-dns", "kube-system"))):
        yield


def agent_frozen(node: str) -> Fault:
    """Stop the processes of a node's agents, with their sockets open (SIGSTOP)."""

    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        with _frozen(_agent(scene, node)):
            yield

    return fault


def agent_killed(node: str) -> Fault:
    """Kill (-9) the processes of a node's agent once; its kubelet starts it again."""

    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        _signal(_agent(scene, node), signal.SIGKILL)
        yield

    return fault


def agent_evicted(node: str) -> Fault:
    """Evict a node's agent, as a drain does."""

    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        name = _agent(scene, node)["metadata"]["name"]
        path = f"/api/v1/namespaces/{scene.namespace}/pods/{name}/eviction"
        asked = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": scene.namespace},
        }
        _run("kubectl", "create", "--raw", path, "-f", "-", given=json.dumps(asked))
        yield

    return fault


@contextmanager
def secret_changed(scene: Scene) -> Iterator[None]:
    """Change what khealth and its agents share; it stays so."""
    where = ("--namespace", scene.namespace)
    for name in kubectl(*where, "get", "secrets", "-l", AGENT, "-o", "name").split():
        data = {"data": {"secret": b64encode(secrets.token_hex(32).encode()).decode()}}
        kubectl(*where, "patch", name, "--type=merge", "-p", json.dumps(data))
    yield


def spread_dns() -> None:
    """Run the DNS pods on different nodes from now on: a fault of one node is then none of DNS."""
    constraint = {
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"k8s-app": "kube-dns"}}, "matchLabelKeys": ["pod-template-hash"],
    }  # fmt: skip
    changes = {"spec": {"template": {"spec": {"topologySpreadConstraints": [constraint]}}}}
    kubectl(*DNS, "patch", "deployment/coredns", "--type=merge", "-p", json.dumps(changes))
    kubectl(*DNS, "rollout", "status", "deployment/coredns", _WITHIN)


def _scaled(replicas: int) -> None:
    kubectl(*DNS, "scale", "deployment/coredns", f"--replicas={replicas}")
    if replicas:
        kubectl(*DNS, "rollout", "status", "deployment/coredns", _WITHIN)
    else:
        kubectl(*DNS, "wait", "--for=delete", _WITHIN, "pod", "-l", "k8s-app=kube-dns,pod-template-hash")


def _configured(data: Mapping[str, str]) -> None:
    """Give DNS pods another configuration; new ones have it at once."""
    kubectl(*DNS, "patch", "configmap", "coredns", "--type=merge", "-p", json.dumps({"data": data}))
    kubectl(*DNS, "rollout", "restart", "deployment/coredns")
    kubectl(*DNS, "rollout", "status", "deployment/coredns", _WITHIN)


def _agent(scene: Scene, node: str) -> Pod:
    return next(pod for pod in pods(AGENT, scene.namespace) if pod["spec"].get("nodeName") == node)


def pods(labels: str, namespace: str) -> Iterator[Pod]:
    """Yield the running pods with these labels, by name, without those that end."""
    running = "--field-selector=status.phase=Running"
    yield from json.loads(kubectl("get", "pods", "--namespace", namespace, "-l", labels, running, "-o", "json"))[
        "items"
    ]


@contextmanager
def _frozen(pod: Pod) -> Iterator[None]:
    try:
        _signal(pod, signal.SIGSTOP)
        yield
    finally:
        _signal(pod, signal.SIGCONT)


def _signal(pod: Pod, number: signal.Signals) -> None:
    """Send a signal to the processes of a pod's containers, which run on this machine."""
    for process in processes(pod["metadata"]["uid"]):
        with suppress(ProcessLookupError):
            os.kill(process, number)


def processes(uid: str) -> Iterable[int]:
    """Yield the processes of a pod, but not the one that holds its network; cgroups have a pod's uid in their names."""
    marks = uid.encode(), uid.replace("-", "_").encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            groups, command = ((process / name).read_bytes() for name in ("cgroup", "cmdline"))
            if any(mark in groups for mark in marks) and command and not command.startswith(b"/pause"):
                yield int(process.name)


def inside(node: str, *command: str) -> tuple[str, ...]:
    """Return a command that runs in the network of a node."""
    return "ip", "netns", "exec", node, *command


def iptables(node: str, *words: str) -> str:
    """Let iptables change or tell the rules of a node, and return what it says."""
    return _run(*inside(node, "iptables", *words))


def _run(*command: str, given: str = "") -> str:
    return subprocess.run(command, input=given, text=True, capture_output=True, timeout=60, check=True).stdout
