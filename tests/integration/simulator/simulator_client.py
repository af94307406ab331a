"""A bare client for the simulator's tests: requests, and waiting for what a watch shows."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

PAUSE = "registry.k8s.io/pause:3.10.1"
NAMESPACE = "canary"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
CONTROLLERS = f"/api/v1/namespaces/{NAMESPACE}/replicationcontrollers"
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS = (
    f"{APPS}/{plural}" for plural in ("deployments", "replicasets", "statefulsets")
)
CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
MERGE = "application/merge-patch+json"
BOUND = 60.0
"""Seconds in which everything that a test waits for must happen; nothing waits for their end."""

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True)
class Reply:
    """An answer: its HTTP code, what it says, and its headers."""

    code: int
    body: Any
    headers: dict[str, str]

    @property
    def message(self) -> str:
        return str(self.body["message"])


class Watcher:
    """An open watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self, seconds: float = BOUND) -> Any:
        """Return the next event. Raises `EOFError` at the stream's end, `TimeoutError` when none comes."""
        async with asyncio.timeout(seconds):
            line = await self.response.content.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        """Return the first event that is wanted."""
        async with asyncio.timeout(BOUND):
            while True:
                event = await self.next()
                if wanted(event):
                    return event


class Client:
    """Speaks to one API server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def call(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", token: str | None = None
    ) -> Reply:
        headers = {"Content-Type": kind}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body)
        async with asyncio.timeout(BOUND):
            async with self.session.request(method, self.url + path, data=data, headers=headers) as response:
                text = await response.text()
        found = json.loads(text) if response.content_type == "application/json" else text
        return Reply(response.status, found, dict(response.headers))

    async def get(self, path: str) -> Reply:
        return await self.call("GET", path)

    async def post(self, path: str, body: Any) -> Reply:
        return await self.call("POST", path, body)

    async def put(self, path: str, body: Any) -> Reply:
        return await self.call("PUT", path, body)

    async def patch(self, path: str, body: Any, kind: str = MERGE) -> Reply:
        return await self.call("PATCH", path, body, kind=kind)

    async def delete(self, path: str, body: Any = None) -> Reply:
        return await self.call("DELETE", path, body)

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[Watcher]:
        """Open a watch."""
        timeout = aiohttp.ClientTimeout(total=None)
        parameters = {"watch": "1", **query}
        async with self.session.get(self.url + path, params=parameters, timeout=timeout) as response:
            yield Watcher(response)

    async def reaches(self, path: str, wanted: Callable[[Any], bool], **query: str) -> Any:
        """Wait until an object at the path is as wanted, and return it."""
        async with self.watch(path, **query) as watcher:
            event = await watcher.until(
                lambda event: event["type"] in {"ADDED", "MODIFIED"} and wanted(event["object"])
            )
        return event["object"]

    async def becomes(self, path: str, wanted: Callable[[list[Any]], bool]) -> None:
        """Wait until the whole list at the path is as wanted."""
        listed = (await self.get(path)).body
        present = {item["metadata"]["uid"]: item for item in listed["items"]}
        async with self.watch(path, resourceVersion=listed["metadata"]["resourceVersion"]) as watcher:
            async with asyncio.timeout(BOUND):
                while not wanted(list(present.values())):
                    event = await watcher.next()
                    present[event["object"]["metadata"]["uid"]] = event["object"]
                    if event["type"] == "DELETED":
                        del present[event["object"]["metadata"]["uid"]]

    async def vanishes(self, path: str, name: str) -> None:
        """Wait until the object of that name is gone."""
        async with self.watch(path, fieldSelector=f"metadata.name={name}") as watcher:
            if (await self.get(f"{path}/{name}")).code != 404:
                await watcher.until(lambda event: event["type"] == "DELETED")


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """Return a pod that passes *restricted*."""
    container = {
        "name": "pause",
        "image": PAUSE,
        "securityContext": RESTRICTED,
        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}},
    }
    basics = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"metadata": {"name": name, "labels": {"app": name}}, "spec": basics | spec}


def controller(name: str, replicas: int = 1, **spec: Any) -> dict[str, Any]:
    """Return a ReplicationController of such pods."""
    template = {"metadata": {"labels": {"app": name}}, "spec": pod(name, **spec)["spec"]}
    return {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"app": name}, "template": template}}


def workload(name: str, replicas: int = 1, **spec: Any) -> dict[str, Any]:
    """Return a Deployment, ReplicaSet or StatefulSet of pods that pass *restricted*."""
    template = {"metadata": {"labels": {"app": name}}, "spec": pod(name)["spec"]}
    basics = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name}, "spec": basics | spec}


def renewed(value: str) -> dict[str, Any]:
    """Return a patch that changes the pod template of a workload."""
    return {"spec": {"template": {"metadata": {"annotations": {"version": value}}}}}


def condition(document: Any, kind: str) -> Any:
    """Return a status condition, or an empty one."""
    conditions = document.get("status", {}).get("conditions") or []
    return next((found for found in conditions if found["type"] == kind), {})


def is_ready(document: Any) -> bool:
    """Tell whether the condition Ready is True."""
    return bool(condition(document, "Ready").get("status") == "True")


def waiting_reason(document: Any) -> str:
    """Return why the first container waits."""
    statuses = document.get("status", {}).get("containerStatuses") or [{}]
    return str(statuses[0].get("state", {}).get("waiting", {}).get("reason", ""))


def status(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    """Return a Status object of a failure."""
    about = {"details": details} if details else {}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        **about,
        "code": code,
    }


async def overtaken(client: Client, shown: Callable[[Any], bool]) -> float:
    """Create pods until a watch shows one as wanted before its create is answered; return the seconds of that answer."""
    async with asyncio.timeout(BOUND):
        for number in itertools.count():
            name = f"p{number}"
            async with client.watch(PODS, fieldSelector=f"metadata.name={name}") as watcher:
                begun = time.monotonic()
                create = asyncio.create_task(client.post(PODS, pod(name)))
                await watcher.until(lambda event: shown(event["object"]))
                early = not create.done()
                await create
                took = time.monotonic() - begun
            if early:
                break
    return took


async def settled(client: Client, name: str = "r", replicas: int = 2) -> list[Any]:
    """Return a ReplicationController's pods, once they are ready."""
    await client.post(CONTROLLERS, controller(name, replicas))
    await client.reaches(CONTROLLERS, lambda found: found["status"].get("readyReplicas", 0) == replicas)
    pods: list[Any] = (await client.get(PODS)).body["items"]
    return pods
