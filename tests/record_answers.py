"""Record what a real API server answers when it refuses, for the tests of what an answer means.

`python tests/record_answers.py` asks the cluster that $KUBECONFIG names, in namespaces called answers-*, and writes one
file for each case into tests/unit/cluster/answers. All that it makes is deleted in the end.
"""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from khealth_exporter.cluster.auth import Credentials, load_credentials

ANSWERS = Path(__file__).parent / "unit" / "cluster" / "answers"
PATIENCE = 60.0
"""Seconds until something that the cluster does by itself should have happened."""

KEPT_HEADERS = ("Content-Type", "Retry-After")
WATCHING = "/apis/admissionregistration.k8s.io/v1"
FLOW_CONTROL = "/apis/flowcontrol.apiserver.k8s.io/v1"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """One request and how it was answered; the body is text, as it came."""

    request: str
    code: int
    headers: Mapping[str, str]
    body: str


class Cluster:
    """Asks the API server, and remembers what to delete."""

    def __init__(self, credentials: Credentials, session: aiohttp.ClientSession) -> None:
        self.credentials = credentials
        self.session = session
        self.made: list[str] = []

    async def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> Recorded:
        """Ask once, as the kubeconfig's user or with a token alone."""
        headers = await self.credentials.headers() if token is None else {"Authorization": f"Bearer {token}"}
        async with self.session.request(
            method,
            self.credentials.server + path,
            data=body if isinstance(body, str) else None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json", **headers},
            ssl=(self.credentials.tls if token is None else self.stranger()) or True,
        ) as response:
            kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
            text = await response.text() if "watch=" not in path else (await response.content.readline()).decode()
            return Recorded(f"{method} {path}", response.status, kept, text)

    def stranger(self) -> ssl.SSLContext:
        """Return how to talk to the server without the kubeconfig's own certificate."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    async def make(self, path: str, manifest: Manifest) -> Manifest:
        """Create what a case needs, and delete it in the end."""
        answer = await self.ask("POST", path, manifest)
        if answer.code not in {200, 201}:
            raise RuntimeError(f"{answer.request}: {answer.code} {answer.body}")
        made: Manifest = json.loads(answer.body)
        if not path.startswith("/api/v1/namespaces/"):  # What is in a namespace goes with it.
            self.made.append(f"{path}/{made['metadata']['name']}")
        return made

    async def until(self, fits: Callable[[], Awaitable[Recorded | None]]) -> Recorded:
        """Return the first answer that fits."""
        async with asyncio.timeout(PATIENCE):
            while (answer := await fits()) is None:
                await asyncio.sleep(0.1)
        return answer

    async def refused(self, method: str, path: str, body: object = None, token: str | None = None) -> Recorded:
        """Return the first answer that is a refusal: what refuses may take a moment to be in force."""

        async def fits() -> Recorded | None:
            answer = await self.ask(method, path, body, token)
            return answer if answer.code >= 400 else None

        return await self.until(fits)

    async def clean_up(self) -> None:
        """Delete all that was made, the namespaces last."""
        for path in reversed(self.made):
            await self.ask("DELETE", path)


def named(name: str, **fields: object) -> Manifest:
    """Return an object of that name."""
    return {"metadata": {"name": name}, **fields}


def pod(name: str = "pod", **spec: object) -> Manifest:
    """Return a pod that the restricted Pod Security Standard admits."""
    restricted = {
        "runAsNonRoot": True,
        "runAsUser": 65535,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "pause", "image": "registry.k8s.io/pause:3.10.1", "securityContext": restricted}
    return named(name, spec={"containers": [container], "terminationGracePeriodSeconds": 0, **spec})


async def service_account(cluster: Cluster, namespace: str) -> str:
    """Return the token of a service account without any rights."""
    await cluster.make(f"{namespace}/serviceaccounts", named("nobody"))
    path = f"{namespace}/serviceaccounts/nobody/token"
    answer = await cluster.ask("POST", path, {"spec": {"expirationSeconds": 600}})
    return str(json.loads(answer.body)["status"]["token"])
