"""A small cluster with agents: their pods, and their processes behind the API server's proxy."""

import base64
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from documents import Json, node, pod, ready, status_of
from fakes import Asked, refusal
from multidict import CIMultiDict
from small_cluster import PODS, Scene

from khealth_exporter.canaries.agents.channel import NoReply, Reply
from khealth_exporter.canaries.agents.fleet import Fleet
from khealth_exporter.canaries.agents.seal import HEADER
from khealth_exporter.canaries.agents.settings import AgentsSettings
from khealth_exporter.cluster.client.answer import Answer
from khealth_exporter.cluster.client.request import Relayed
from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.core.agents import SECRET, Agent

AGENT = {"app.kubernetes.io/managed-by": "khealth", "app.kubernetes.io/component": "agent"}
UNREACHED = refusal(503, "error trying to reach service: dial tcp 10.0.0.1:8079: connect: connection refused")
_PROOF = re.compile(r"v1;boot=([0-9a-f]+);nonce=([0-9a-f]{32});mac=([0-9a-f]{64})")

Task = Callable[[str, Json], Json]
"""What an agent, by its name, answers to a question."""


@dataclass
class Process:
    """The process of one agent: what its start is called, and what it does with a question."""

    boot: str = "b001"
    secret: str | None = None
    """What its file holds; by default what its Secret holds."""
    answers: Callable[[Asked], Answer | Refusal | None] = lambda _asked: None
    """What is answered in its place."""


@dataclass
class AgentCluster:
    """The agents of a small cluster."""

    here: Scene
    secret_name: str = SECRET
    processes: dict[str, Process] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    questions: list[tuple[str, str, Json]] = field(default_factory=list)
    """Agent, task and document of each question that was accepted."""
    starting: float = 0.3
    """Seconds after which an agent that khealth creates is Ready."""

    def __post_init__(self) -> None:
        self.here.api.relaying = self._relayed
        self.here.api.created = self._created
        self.here.api.deleted = self._deleted
        self.tasks.setdefault("dns", lambda name, _asked: {"name": name})

    def secret(self, key: str = "5ec4e7") -> None:
        """Let the chart's Secret hold this."""
        data = {"secret": base64.b64encode(key.encode()).decode()} if key else {}
        self.here.api.put("secrets", {"metadata": {"name": SECRET}, "data": data})

    def chart(self, *nodes: str) -> None:
        """Let the chart run one agent on each of these nodes; it is Ready."""
        for name in nodes:
            self.here.api.put(PODS, agent_pod(f"agent-{name}", name))

    def process(self, name: str) -> Process:
        """Return the process of an agent."""
        return self.processes.setdefault(name, Process())

    def pods(self) -> list[Json]:
        """Return the agents' pods, by name."""
        found = self.here.api.objects.get(PODS, {})
        return [found[name] for name in sorted(found) if found[name]["metadata"]["labels"].items() >= AGENT.items()]

    def _created(self, resource: str, item: Json) -> None:
        if resource == PODS:
            number = len(self.here.api.objects[PODS]) - 1
            node = self.here.small.nodes[number % len(self.here.small.nodes)]
            self.here.small.later(self.starting, self._ready, item["metadata"]["name"], node)

    def _ready(self, name: str, node: str) -> None:
        known = self.here.api.objects[PODS].get(name)
        if known and "deletionTimestamp" not in known["metadata"]:
            self.here.api.put(PODS, with_address({"status": {}, **known}, node))

    def _deleted(self, resource: str, item: Json, options: Json) -> bool:
        if resource != PODS or options.get("gracePeriodSeconds") == 0:
            return True
        self.here.small.later(0.2, self._gone, item["metadata"]["name"])
        return False

    def _gone(self, name: str) -> None:
        if name in self.here.api.objects[PODS]:
            self.here.api.remove(PODS, name)

    async def _relayed(self, asked: Asked, relayed: Relayed) -> Answer | Refusal:
        """Answer as the agent behind the proxy does."""
        place = re.fullmatch(r"/api/v1/namespaces/[^/]+/pods/([^:]+):8079/proxy(/.*)", asked.path)
        assert place
        name, path = place[1], place[2]
        if name not in self.here.api.objects[PODS]:
            return refusal(404, f'pods "{name}" not found', "NotFound")
        process = self.process(name)
        if (instead := process.answers(asked)) is not None:
            return instead
        if path == "/ping":
            return self._answer(asked, 200, f"{name}\n".encode(), {})
        return self._accepted(asked, process, name, path, relayed)

    def _accepted(self, asked: Asked, process: Process, name: str, path: str, relayed: Relayed) -> Answer:
        secret = self._shared() if process.secret is None else process.secret
        proof = _PROOF.fullmatch(relayed.headers[HEADER])
        assert proof
        assert relayed.body is not None
        boot, nonce, given = proof.groups()
        expected = mac(secret, "POST", path, boot, nonce, sha256(relayed.body).hexdigest())
        error = "secret" if not secret else "mac" if given != expected else "boot" if boot != process.boot else ""
        if error:
            return self._answer(asked, 401, json.dumps({"error": error, "boot": process.boot}).encode(), {})
        task, question = path.removeprefix("/v1/"), json.loads(relayed.body)
        self.questions.append((name, task, question))
        body = json.dumps(self.tasks[task](name, question)).encode()
        seal = mac(secret, "answer", nonce, "200", sha256(body).hexdigest())
        return self._answer(asked, 200, body, {HEADER: f"v1;mac={seal}"})

    def _answer(self, asked: Asked, code: int, body: bytes, headers: Mapping[str, str]) -> Answer:
        now = self.here.clock.now()
        return Answer(code, body, asked.at, now, 0.0, 1, None, headers=CIMultiDict(headers))

    def _shared(self) -> str:
        data = self.here.api.objects["secrets"][self.secret_name].get("data", {})
        return base64.b64decode(data.get("secret", "")).decode()


def mac(secret: str, *parts: str) -> str:
    """Return what proves that one who knows the secret has said the parts."""
    return hmac.new(secret.encode(), "\n".join(("v1", *parts)).encode(), sha256).hexdigest()


def zoned(name: str, zone: str) -> Json:
    """Return a node of a zone."""
    found = node(name)
    found["metadata"]["labels"]["topology.kubernetes.io/zone"] = zone
    return found


def agent_pod(name: str, node: str) -> Json:
    """Return a pod of the chart's agents that is Ready."""
    return with_address(pod(name, labels=AGENT), node)


def with_address(document: Json, node: str) -> Json:
    """Return a pod that is Ready, with an address."""
    return status_of(ready(document, node), podIP=f"10.0.0.{node.rpartition('-')[2]}")


class Nowhere:
    """No way to the pods' addresses, or one to agents that a test names."""

    name = "at its address"

    def __init__(self, *reached: str) -> None:
        self._reached = reached

    async def ask(
        self, agent: Agent, path: str, deadline: float, *, seal: str = "", body: bytes | None = None
    ) -> Reply:
        """Answer to /ping for those that are reached."""
        assert (path, seal, body) == ("/ping", "", None)
        if agent.name not in self._reached:
            raise NoReply("no route to host")
        return Reply(200, "", agent.name.encode(), deadline, deadline)

    async def close(self) -> None:
        """Keep nothing open."""


def fleet_of(here: Scene, *, inside: bool = True, reached: Sequence[str] = (), **settings: Any) -> Fleet:
    """Return a fleet that asks through the API server; at their addresses it reaches the agents that are named."""
    fleet = Fleet(here.cluster, inside=inside, straight=Nowhere(*reached))
    fleet.want(AgentsSettings(channel="proxy", **settings), "khealth:test", needed=True)
    return fleet


def by_name(agents: Sequence[Any]) -> list[str]:
    """Return the names of agents."""
    return [agent.name for agent in agents]
