"""The API server's version, health, API groups and resources."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from khealth_exporter.simulator.answer import Answer
from khealth_exporter.simulator.documents import Document, encode
from khealth_exporter.simulator.resources import PODS, RESOURCES, SERVICE_ACCOUNTS, Resource
from khealth_exporter.simulator.scales import SCALED

_TEXT: Final = "text/plain; charset=utf-8"
_VERBS: Final = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_TO_PODS: Final = (
    ("log", "Pod", ["get"]),
    ("proxy", "PodProxyOptions", ["create", "delete", "get", "patch", "update"]),
)
_VERSION: Final[Document] = {
    "major": "1",
    "minor": "37",
    "emulationMajor": "1",
    "emulationMinor": "37",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.2",
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "go1.26.8",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def answer(path: str, *, healthy: bool) -> Answer:
    """Answer a GET outside the resources."""
    path = path.rstrip("/")
    if path in {"/readyz", "/healthz", "/livez"}:
        return _health(path, healthy=healthy)
    found = _documents().get(path)
    if found is None:
        return Answer(HTTPStatus.NOT_FOUND, b"404 page not found\n", _TEXT)
    return Answer(HTTPStatus.OK, encode(found))


def _health(path: str, *, healthy: bool) -> Answer:
    if healthy:
        return Answer(HTTPStatus.OK, b"ok", _TEXT)
    told = f"[+]ping ok\n[-]etcd failed: reason withheld\n{path.strip('/')} check failed\n"
    return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, told.encode(), _TEXT)


def _documents() -> Mapping[str, Document]:
    groups = sorted({resource.group for resource in RESOURCES if resource.group})
    documents: dict[str, Document] = {
        "/version": _VERSION,
        "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(group) for group in groups]},
    }
    for resource in RESOURCES:
        path = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
        listed = documents.setdefault(
            path,
            {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": resource.api_version, "resources": []},
        )
        listed["resources"] += _entries(resource)
    return documents | {f"/apis/{group}": {"kind": "APIGroup", "apiVersion": "v1", **_group(group)} for group in groups}


def _group(group: str) -> Document:
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    return {"name": group, "versions": [version], "preferredVersion": version}


def _entries(resource: Resource) -> list[Document]:
    entry: Document = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _VERBS,
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    entries = [entry]
    if resource.has_status:
        status = {"singularName": "", "namespaced": resource.namespaced, "kind": resource.kind}
        entries.append({"name": f"{resource.plural}/status", **status, "verbs": ["get", "patch", "update"]})
    if resource is PODS:
        for name, kind in (("binding", "Binding"), ("eviction", "Eviction")):
            special = {"name": f"pods/{name}", "singularName": "", "namespaced": True, "kind": kind}
            entries.append({**special, "verbs": ["create"]})
        for name, kind, verbs in _TO_PODS:
            special = {"name": f"pods/{name}", "singularName": "", "namespaced": True, "kind": kind}
            entries.append({**special, "verbs": verbs})
    if resource in SCALED:
        scale = {"name": f"{resource.plural}/scale", "singularName": "", "namespaced": True, "kind": "Scale"}
        entries.append({**scale, "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"]})
    if resource is SERVICE_ACCOUNTS:
        token = {"name": "serviceaccounts/token", "singularName": "", "namespaced": True, "kind": "TokenRequest"}
        entries.append({**token, "group": "authentication.k8s.io", "version": "v1", "verbs": ["create"]})
    return entries
