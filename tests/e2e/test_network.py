"""Routines of the network: the bodies are shared with the other kind of cluster; node ports need a real one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bodies.network import *  # noqa: F403
from bodies.target import Target

BALANCER = "198.18.255.254"
"""An address that nothing has: each node translates it, as it does with that of a load balancer."""


@contextmanager
def balanced(target: Target) -> Iterator[None]:
    """Give each Service of the namespace that asks for a load balancer an address, as a provider does, in the block."""
    over = threading.Event()

    def provide() -> None:
        while not over.wait(0.2):
            for found in target.core.list_namespaced_service(target.namespace).items:
                if found.spec.type == "LoadBalancer" and not found.status.load_balancer.ingress:
                    status = {"status": {"loadBalancer": {"ingress": [{"ip": BALANCER}]}}}
                    target.core.patch_namespaced_service_status(found.metadata.name, target.namespace, status)

    provider = threading.Thread(target=provide)
    provider.start()
    try:
        yield
    finally:
        over.set()
        provider.join()


def test_a_service_answers_at_the_ports_of_nodes_and_at_its_load_balancer(target: Target) -> None:
    """The address of the load balancer is a step of its own."""
    settings = target.network(service={"node_port": True, "load_balancer": True})
    with balanced(target):
        found = target.every(settings, "network/service")
    assert (0, {"service"}) == (found.code, found.well), found.told
    assert 0 < found.attempt["steps"]["assign"] < 10
    assert [] == target.objects()


def test_a_load_balancer_without_an_address_is_told(target: Target) -> None:
    """Nobody provides one; the Service itself works."""
    found = target.every(target.network(service={"load_balancer": True}), "network/service")
    assert {"service": ("network", "service_not_programmed")} == found.blamed, found.told
    assert "load balancer" in found.attempt["note"]
    assert found.attempt["steps"]["program"] is not None
