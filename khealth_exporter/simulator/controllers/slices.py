"""The EndpointSlice controller: publishes the addresses of the pods that each Service selects."""

from collections.abc import Iterator
from typing import Final

from khealth_exporter.simulator.controllers.controller import Controller
from khealth_exporter.simulator.deletion import DeleteOptions, owner_reference
from khealth_exporter.simulator.documents import (
    Document,
    has_condition,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    node_of,
    phase_of,
    spec_of,
    status_of,
    uid_of,
)
from khealth_exporter.simulator.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from khealth_exporter.simulator.services import HEADLESS
from khealth_exporter.simulator.store import Commit, Key, key_of

SERVICE_NAME: Final = "kubernetes.io/service-name"
"""The label of an EndpointSlice that names its Service."""
_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
_US: Final = "endpointslice-controller.k8s.io"
_HEADLESS: Final = "service.kubernetes.io/headless"
_TRIGGERED: Final = "endpoints.kubernetes.io/last-change-trigger-time"
_ZONE: Final = "topology.kubernetes.io/zone"


class EndpointSlices(Controller):
    """Keeps one EndpointSlice for each Service with a selector."""

    holding = ("controller-stalled",)

    def _listen(self, commit: Commit) -> None:
        if commit.resource is SERVICES and commit.kind != "DELETED":
            self._queue.add(commit.key)
        elif commit.resource is ENDPOINT_SLICES and labels_of(commit.document).get(_MANAGED_BY) == _US:
            self._queue.add((commit.key[0], labels_of(commit.document).get(SERVICE_NAME, "")))
        elif commit.resource is PODS and status_of(commit.document).get("podIP"):
            labels = [labels_of(commit.document), labels_of(commit.before or {})]
            for service in self.world.store.all(SERVICES, commit.key[0]):
                if any(_selects(service, found) for found in labels):
                    self._queue.add(key_of(service))

    async def _sync(self, key: Key) -> None:
        await self.pause(self.world.settings.delays.publish)
        await self.turn()
        service = self.world.store.get(SERVICES, key)
        if service is None or is_deleting(service) or not spec_of(service).get("selector"):
            return
        ours = [
            found
            for found in self.world.store.all(ENDPOINT_SLICES, key[0])
            if labels_of(found).get(_MANAGED_BY) == _US and labels_of(found).get(SERVICE_NAME) == key[1]
        ]
        content = self._content(service)
        if not ours:
            self.world.registry.create(ENDPOINT_SLICES, key[0], {**content, "addressType": "IPv4"})
            return
        kept = metadata(ours[0]).get("annotations") or {}
        same = all(ours[0].get(field) == content[field] for field in ("endpoints", "ports"))
        annotations = kept if same else {**kept, **metadata(content)["annotations"]}
        changed = {"labels": labels_of(content), "annotations": annotations}
        self.world.registry.patch(
            ENDPOINT_SLICES,
            key_of(ours[0]),
            lambda found: {**found, **content, "metadata": {**metadata(found), **changed}},
        )
        for further in ours[1:]:
            self.world.deletion.delete(ENDPOINT_SLICES, key_of(further), DeleteOptions(uid=uid_of(further)))

    def _content(self, service: Document) -> Document:
        labels = {**labels_of(service), SERVICE_NAME: name_of(service), _MANAGED_BY: _US}
        if spec_of(service).get("clusterIP") == HEADLESS:
            labels[_HEADLESS] = ""
        pods = [
            pod
            for pod in self.world.store.all(PODS, namespace_of(service))
            if _selects(service, labels_of(pod)) and _has_endpoint(pod)
        ]
        return {
            "metadata": {
                "generateName": f"{name_of(service)}-",
                "labels": labels,
                "annotations": {_TRIGGERED: self.world.now()},
                "ownerReferences": [owner_reference(SERVICES, service)],
            },
            "endpoints": [self._endpoint(service, pod) for pod in pods] or None,
            "ports": [*_ports(service, pods[0])] if pods else None,
        }

    def _endpoint(self, service: Document, pod: Document) -> Document:
        serving, terminating = has_condition(pod, "Ready"), is_deleting(pod)
        ready = (serving and not terminating) or bool(spec_of(service).get("publishNotReadyAddresses"))
        endpoint: Document = {
            "addresses": [status_of(pod)["podIP"]],
            "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            "nodeName": node_of(pod),
            "targetRef": {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)},
        }
        if spec_of(pod).get("hostname") and spec_of(pod).get("subdomain") == name_of(service):
            endpoint["hostname"] = spec_of(pod)["hostname"]
        node = self.world.store.get(NODES, ("", node_of(pod))) or {}
        if zone := labels_of(node).get(_ZONE):
            endpoint["zone"] = zone
        return endpoint


def _selects(service: Document, labels: dict[str, str]) -> bool:
    selector: dict[str, str] = spec_of(service).get("selector") or {}
    return bool(selector) and selector.items() <= labels.items()


def _has_endpoint(pod: Document) -> bool:
    return bool(status_of(pod).get("podIP")) and phase_of(pod) not in {"Succeeded", "Failed"}


def _ports(service: Document, pod: Document) -> Iterator[Document]:
    """Yield the ports of the endpoints; a name is that of a port of the pod's containers."""
    named = {
        port.get("name"): port["containerPort"]
        for container in spec_of(pod)["containers"]
        for port in container.get("ports") or []
    }
    for port in spec_of(service).get("ports") or []:
        target = port["targetPort"]
        number = target if isinstance(target, int) else named.get(target)
        if number is not None:
            yield {"name": port.get("name", ""), "protocol": port["protocol"], "port": number}
