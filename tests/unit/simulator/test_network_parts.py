"""The parts of the simulated network: addresses, policies, filters, and what stands in a pod's template."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from khealth_exporter.simulator.controllers.launches import environment, expanded, translated
from khealth_exporter.simulator.network import addresses
from khealth_exporter.simulator.network.addresses import SERVICES, Addresses, service_address
from khealth_exporter.simulator.network.pod_side import (
    LOSSY,
    LOST,
    NARROW,
    SIZE,
    UDP_LOST,
    PodSide,
    packed,
    program,
    real_port,
)
from khealth_exporter.simulator.network.policies import Rules

SO_ATTACH_FILTER = 26
PATIENCE = 60.0
"""Seconds after which a test has failed that waits for something."""


def pod(name: str, address: str = "127.64.1.2", namespace: str = "n", ports: Any = ()) -> dict[str, Any]:
    """Return a pod with the label `name`."""
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"name": name}},
        "spec": {"containers": [{"name": "c", "ports": list(ports)}]},
        "status": {"podIP": address},
    }


A, B = pod("a"), pod("b", "127.64.2.2", ports=[{"name": "agent", "containerPort": 8079}])


def policy(selector: Any = None, *kinds: str, **rules: Any) -> dict[str, Any]:
    """Return a policy of namespace `n`; by default for all pods and incoming traffic."""
    spec = {"podSelector": selector or {}, "policyTypes": list(kinds) or ["Ingress"], **rules}
    return {"metadata": {"name": "p", "namespace": "n"}, "spec": spec}


def named(name: str) -> dict[str, Any]:
    """Return a selector of pods."""
    return {"matchLabels": {"name": name}}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], True),
        ([policy()], False),
        ([policy(named("other"))], True),
        ([policy(ingress=[{}])], True),
        ([policy(ingress=[{"from": [{"podSelector": named("a")}]}])], True),
        ([policy(ingress=[{"from": [{"podSelector": named("c")}]}])], False),
        ([policy(), policy(ingress=[{"from": [{"podSelector": named("a")}]}])], True),
        ([policy(ingress=[{"from": [{"namespaceSelector": {}}]}])], True),
        ([policy(ingress=[{"from": [{"namespaceSelector": named("other")}]}])], False),
        ([policy(ingress=[{"from": [{"namespaceSelector": named("n"), "podSelector": named("a")}]}])], True),
        ([policy(ingress=[{"from": [{"ipBlock": {"cidr": "127.64.1.0/24"}}]}])], True),
        ([policy(ingress=[{"from": [{"ipBlock": {"cidr": "127.64.0.0/16", "except": ["127.64.1.0/24"]}}]}])], False),
        ([policy(ingress=[{"ports": [{"port": 8079}]}])], True),
        ([policy(ingress=[{"ports": [{"port": 8000, "endPort": 8100}]}])], True),
        ([policy(ingress=[{"ports": [{"port": "agent"}]}])], True),
        ([policy(ingress=[{"ports": [{"port": 80}]}])], False),
        ([policy(named("a"), "Egress")], False),
        ([policy(named("a"), "Egress", egress=[{"to": [{"podSelector": named("b")}]}])], True),
        ([policy(named("b"), "Egress")], True),
    ],
)
def test_policies_allow_what_any_of_them_allows(policies: list[dict[str, Any]], expected: bool) -> None:
    """A pod that none selects is open."""
    assert expected is Rules(policies, {"n": {"name": "n"}}).allow(A, B)


def test_policies_of_another_namespace_say_nothing() -> None:
    """They select pods of their own namespace."""
    assert Rules([policy()]).allow(A, pod("b", namespace="other"))


def test_clusters_of_one_machine_have_different_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a network is free again afterwards."""
    # Other simulated clusters may begin and end meanwhile: those of other tests.
    monkeypatch.setattr(addresses, "_RESERVED", f"{__name__}-{os.getpid()}/127.%d")
    with Addresses() as one:
        first = one.network
        with Addresses() as other:
            assert not first.overlaps(other.network)
    with Addresses() as again:
        assert first == again.network


def test_pods_of_a_node_share_a_subnet_and_no_address() -> None:
    """An address is given again only when the others have been."""
    addresses, taken = Addresses(), list[str]()
    for _ in range(253):
        taken.append(addresses.of_pod("node-1", taken))
    assert (253, {"127.64.1"}) == (len({*taken}), {address.rpartition(".")[0] for address in taken})
    assert "127.64.2.2" == addresses.of_pod("node-2", taken)
    assert taken[0] == addresses.of_pod("node-1", taken[1:])


@pytest.mark.parametrize("start", [0, 7, 2**31])
def test_service_addresses_are_taken_once(start: int) -> None:
    """Until there is none: neither the network's own address nor its last is given."""
    taken = list[str]()
    while (address := service_address(SERVICES, taken, start)) is not None:
        taken.append(address)
    assert {str(host) for host in SERVICES.hosts()} == {*taken}
    assert 254 == len(taken)


def test_privileged_ports_are_elsewhere() -> None:
    """Only root may listen on them."""
    assert [10053, 10443, 1024, 8079] == [real_port(port) for port in (53, 443, 1024, 8079)]


def test_way_depends_on_the_last_two_bytes() -> None:
    """And every address that is not of the cluster has the first one."""
    ways = bytearray(SIZE)
    ways[0], ways[1 * 256 + 2] = LOST, NARROW
    side = PodSide(ways, "127.64.3.4")
    assert [NARROW, 0, LOST, LOST] == [
        side.way(host) for host in ("127.64.1.2", "127.64.1.3", "127.65.1.2", "198.51.100.1")
    ]


def passes(way: int, *lengths: int) -> list[bool]:
    """Tell for datagrams of these lengths whether the kernel lets them through."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        near.bind(("127.0.0.1", 0))
        near.setblocking(False)  # noqa: FBT003  # the socket module's own signature
        near.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, packed(program(way)))
        found = list[bool]()
        for length in lengths:
            far.sendto(b"." * length, near.getsockname())
            found.append(came(near, found.count(False)))
        return found


def came(near: socket.socket, dropped: int) -> bool:
    """Wait for a datagram, and tell whether it has come; it has not if the kernel has dropped more than before."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            near.recv(2000)
            return True
        if drops(near.getsockname()[1]) > dropped:
            return False
    raise TimeoutError("a datagram has neither come nor been dropped")


def drops(port: int) -> int:
    """Return how many datagrams to a port of this machine the kernel has dropped."""
    lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[-1]) for line in lines if f"0100007F:{port:04X} " in line)


@pytest.mark.parametrize(
    ("way", "expected"),
    [(0, [True, True]), (NARROW, [True, False]), (LOST, [False, False]), (UDP_LOST | NARROW, [False, False])],
)
def test_kernel_drops_datagrams(way: int, expected: list[bool]) -> None:
    """With their headers, 1,400 bytes are not too long."""
    assert expected == passes(way, 1372, 1373)


def test_kernel_drops_some_datagrams_of_a_lossy_way() -> None:
    """One in ten: of 2,000 never fewer than 100, nor more than 300."""
    assert 100 < passes(LOSSY, *[10] * 2000).count(False) < 300


def test_variables_are_expanded() -> None:
    """As Kubernetes does: an unknown one stays, and a dollar escapes another."""
    assert "1-$(B)-$(A)-$" == expanded("$(A)-$(B)-$$(A)-$", {"A": "1"})


def test_fields_of_the_pod_are_in_the_environment() -> None:
    """By the downward API; later entries can use earlier ones."""
    paths = {
        "IP": "status.podIP",
        "NAME": "metadata.name",
        "NODE": "spec.nodeName",
        "LABEL": "metadata.labels['name']",
    }
    env: list[Any] = [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in paths.items()]
    made = pod("a")
    made["spec"] |= {"nodeName": "node-1"}
    made["spec"]["containers"][0]["env"] = [*env, {"name": "URL", "value": "http://$(IP)/"}]
    expected = {"IP": "127.64.1.2", "NAME": "a", "NODE": "node-1", "LABEL": "a", "URL": "http://127.64.1.2/"}
    assert expected == environment(made)


def test_paths_of_the_container_become_those_of_the_machine() -> None:
    """Also after an option, and not within other words."""
    paths = {"/data": Path("/x/y")}
    given = ["/data", "/data/z", "--file=/data/z", "/database", "data"]
    assert ["/x/y", "/x/y/z", "--file=/x/y/z", "/database", "data"] == [translated(text, paths) for text in given]
