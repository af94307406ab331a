"""Services, EndpointSlices and NetworkPolicies as objects, with the answers of a real API server of version 1.37."""

from typing import Any

import pytest
from integration.simulator.agents import POLICIES, PORT, SERVICES, SLICES, service
from integration.simulator.simulator_client import NAMESPACE, PODS, Client, pod

LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
PORT_RULE = "must be between 1 and 65535, inclusive"
ADDRESS_RULE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
NETWORK_RULE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
TYPES = '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
OUTSIDE = "the provided network does not match the current range"
SLICE: dict[str, Any] = {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]}


def named(name: str, **spec: Any) -> dict[str, Any]:
    """Return an object with this spec."""
    return {"metadata": {"name": name}, "spec": spec}


async def test_service_has_the_defaults_of_the_real_server(client: Client) -> None:
    """And an address of its own."""
    ports = [{"port": 80, "targetPort": 8079}]
    made = (await client.post(SERVICES, named("s", selector={"app": "a"}, ports=ports))).body
    address = made["spec"]["clusterIP"]
    assert address.startswith("127.")
    assert {
        "ports": [{"protocol": "TCP", "port": 80, "targetPort": 8079}],
        "selector": {"app": "a"},
        "clusterIP": address,
        "clusterIPs": [address],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
    } == made["spec"]
    assert {"loadBalancer": {}} == made["status"]


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
async def test_service_on_nodes_has_a_port_there(client: Client, kind: str) -> None:
    """Of the usual range."""
    spec = (await client.post(SERVICES, named("s", type=kind, ports=[{"port": 1}]))).body["spec"]
    assert (True, "Cluster", kind == "LoadBalancer") == (
        30000 <= spec["ports"][0]["nodePort"] <= 32767,
        spec["externalTrafficPolicy"],
        spec.get("allocateLoadBalancerNodePorts", False),
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "spec.ports: Required value"),
        ({"ports": [{"port": 99999, "targetPort": 1}]}, f"spec.ports[0].port: Invalid value: 99999: {PORT_RULE}"),
        ({"ports": [{"port": 1, "targetPort": 0}]}, f"spec.ports[0].targetPort: Invalid value: 0: {PORT_RULE}"),
        (
            {"ports": [{"port": 1}, {"port": 2}]},
            "[spec.ports[0].name: Required value, spec.ports[1].name: Required value]",
        ),
        (
            {"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]},
            'spec.ports[1].name: Duplicate value: "a"',
        ),
        ({"ports": [{"port": 1, "name": "A"}]}, f'spec.ports[0].name: Invalid value: "A": {LABEL_RULE}'),
        (
            {"ports": [{"port": 1, "protocol": "X"}]},
            'spec.ports[0].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"',
        ),
        (
            {"type": "X", "ports": [{"port": 1}]},
            f'spec.type: Unsupported value: "X": supported values: {TYPES}',
        ),
        (
            {"clusterIP": "1.2.3.4", "ports": [{"port": 1}]},
            f'spec.clusterIPs: Invalid value: ["1.2.3.4"]: failed to allocate IP 1.2.3.4: {OUTSIDE}',
        ),
        ({"clusterIP": "x", "ports": [{"port": 1}]}, f'spec.clusterIPs[0]: Invalid value: "x": {ADDRESS_RULE}'),
        (
            {"ports": [{"port": 1, "nodePort": 30001}]},
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
        (
            {"clusterIP": "None", "type": "NodePort", "ports": [{"port": 1}]},
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
    ],
)
async def test_invalid_services(client: Client, spec: Any, expected: str) -> None:
    """With the message of the real server."""
    reply = await client.post(SERVICES, named("s", **spec))
    assert (422, f'Service "s" is invalid: {expected}') == (reply.code, reply.message)


async def test_address_of_a_service_is_its_own_and_stays(client: Client) -> None:
    """Nobody else can have it, and it never changes."""
    address = (await client.post(SERVICES, service("a"))).body["spec"]["clusterIP"]
    taken = await client.post(SERVICES, service("b", clusterIP=address))
    told = f'spec.clusterIPs: Invalid value: ["{address}"]: failed to allocate IP {address}: '
    assert f'Service "b" is invalid: {told}provided IP is already allocated' == taken.message
    other = await client.patch(f"{SERVICES}/a", {"spec": {"clusterIP": "10.96.0.77"}})
    told = 'spec.clusterIPs[0]: Invalid value: ["10.96.0.77"]: may not change once set'
    assert f'Service "a" is invalid: {told}' == other.message
    kept = await client.put(f"{SERVICES}/a", service("a", 81))
    assert (200, address) == (kept.code, kept.body["spec"]["clusterIP"])
    deleted = await client.delete(f"{SERVICES}/a")
    assert "Service" == deleted.body["kind"]
    assert 201 == (await client.post(SERVICES, service("c", clusterIP=address))).code


async def test_slice_of_a_service_lists_its_pods(client: Client) -> None:
    """With its labels, also while there is none; the pods with their nodes and what they are."""
    await client.post(
        SERVICES, {**service("s", selector={"app": "a"}), "metadata": {"name": "s", "labels": {"l": "x"}}}
    )
    empty = await client.reaches(SLICES, lambda _: True)
    assert (None, None) == (empty["endpoints"], empty["ports"])
    labels = {
        "l": "x",
        "kubernetes.io/service-name": "s",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert (labels, "s-", "IPv4") == (
        empty["metadata"]["labels"],
        empty["metadata"]["generateName"],
        empty["addressType"],
    )
    await client.post(PODS, pod("a", nodeName="node-1"))
    found = await client.reaches(
        SLICES, lambda one: bool(one["endpoints"]) and one["endpoints"][0]["conditions"]["ready"]
    )
    made = (await client.get(f"{PODS}/a")).body
    endpoint = {
        "addresses": [made["status"]["podIP"]],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": "node-1",
        "targetRef": {"kind": "Pod", "name": "a", "namespace": NAMESPACE, "uid": made["metadata"]["uid"]},
    }
    assert ([endpoint], [{"name": "", "port": PORT, "protocol": "TCP"}]) == (found["endpoints"], found["ports"])
    await client.delete(f"{SERVICES}/s")
    await client.becomes(SLICES, lambda slices: not slices)


async def test_slice_of_a_headless_service_says_so(client: Client) -> None:
    """By a label."""
    await client.post(SERVICES, service("s", clusterIP="None"))
    found = await client.reaches(SLICES, lambda _: True)
    assert "" == found["metadata"]["labels"]["service.kubernetes.io/headless"]


async def test_service_without_a_selector_has_the_slices_that_its_user_makes(client: Client) -> None:
    """With defaults."""
    reply = await client.post(SLICES, {**SLICE, "ports": [{"port": 1}]})
    assert ([{"addresses": ["10.0.0.1"], "conditions": {}}], [{"name": "", "protocol": "TCP", "port": 1}], 1) == (
        reply.body["endpoints"],
        reply.body["ports"],
        reply.body["metadata"]["generation"],
    )
    changed = await client.patch(f"{SLICES}/s", {"endpoints": [{"addresses": ["10.0.0.2"]}]})
    assert 2 == changed.body["metadata"]["generation"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"addressType": None}, "addressType: Required value"),
        ({"addressType": "X"}, 'addressType: Unsupported value: "X": supported values: "FQDN", "IPv4", "IPv6"'),
        ({"endpoints": [{"addresses": []}]}, "endpoints[0].addresses: Required value"),
        (
            {"endpoints": [{"addresses": ["x"]}]},
            f'endpoints[0].addresses[0]: Invalid value: "x": {ADDRESS_RULE}',
        ),
        ({"ports": [{"name": "a"}, {"name": "a"}]}, 'ports[1].name: Duplicate value: "a"'),
    ],
)
async def test_invalid_slices(client: Client, change: Any, expected: str) -> None:
    """With the message of the real server."""
    reply = await client.post(SLICES, {**SLICE, **change})
    assert (422, f'EndpointSlice.discovery.k8s.io "s" is invalid: {expected}') == (reply.code, reply.message)


async def test_policy_has_the_defaults_of_the_real_server(client: Client) -> None:
    """The directions for which it has rules, and TCP."""
    spec = {"podSelector": {}, "egress": [{"ports": [{"port": 1}]}]}
    reply = await client.post(POLICIES, named("p", **spec))
    assert {**spec, "egress": [{"ports": [{"protocol": "TCP", "port": 1}]}], "policyTypes": ["Ingress", "Egress"]} == (
        reply.body["spec"]
    )
    assert {"podSelector": {}, "policyTypes": ["Ingress"]} == (await client.post(POLICIES, named("q"))).body["spec"]
    assert "Success" == (await client.delete(f"{POLICIES}/p")).body["status"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"policyTypes": ["X"]}, 'spec.policyTypes[0]: Unsupported value: "X": supported values: "Ingress", "Egress"'),
        ({"ingress": [{"from": [{}]}]}, "spec.ingress[0].from[0]: Required value: must specify a peer"),
        (
            {"ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]},
            f'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "x": {NETWORK_RULE}',
        ),
        ({"ingress": [{"ports": [{"port": 0}]}]}, f"spec.ingress[0].ports[0].port: Invalid value: 0: {PORT_RULE}"),
        (
            {"egress": [{"to": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
            "spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer",
        ),
    ],
)
async def test_invalid_policies(client: Client, spec: Any, expected: str) -> None:
    """With the message of the real server."""
    reply = await client.post(POLICIES, named("p", **spec))
    assert (422, f'NetworkPolicy.networking.k8s.io "p" is invalid: {expected}') == (reply.code, reply.message)
