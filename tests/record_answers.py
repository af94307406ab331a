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

from khealth_exporter.cluster.credentials.credentials import Credentials, load_credentials

ANSWERS = Path(__file__).parent / "unit" / "cluster" / "answers"
PATIENCE = 600.0
"""Seconds until what the cluster does by itself has happened; etcd forgets old versions every 5 minutes."""

KEPT_HEADERS = ("Content-Type", "Retry-After")
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
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

    def stranger(self) -> ssl.SSLContext | None:
        """Return how to talk to the same server without the kubeconfig's own certificate."""
        if self.credentials.tls is None:
            return None
        return ssl.create_default_context(cadata=b"".join(self.credentials.tls.get_ca_certs(binary_form=True)))

    async def make(self, path: str, manifest: Manifest) -> Manifest:
        """Create what a case needs, and delete it in the end."""
        answer = await self.ask("POST", path, manifest)
        if answer.code not in {200, 201}:
            raise RuntimeError(f"{answer.request}: {answer.code} {answer.body}")
        made: Manifest = json.loads(answer.body)
        if not path.startswith("/api/v1/namespaces/"):  # What is in a namespace goes with it.
            self.made.append(f"{path}/{made['metadata']['name']}")
        return made

    async def until(
        self, fits: Callable[[Recorded], bool], method: str, path: str, body: object = None, token: str | None = None
    ) -> Recorded:
        """Ask again and again, and return the first answer that fits."""
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self.ask(method, path, body, token)
                if fits(answer):
                    return answer
                await asyncio.sleep(0.2)

    async def refused(self, method: str, path: str, body: object = None) -> Recorded:
        """Return the first answer that is a refusal: what refuses may take a moment to be in force."""
        return await self.until(lambda answer: answer.code >= 400, method, path, body)

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


async def rbac(cluster: Cluster, namespace: str) -> Recorded:
    """Ask as a service account that has no rights."""
    return await cluster.ask("POST", f"{namespace}/pods", pod(), await service_account(cluster, namespace))


async def bad_token(cluster: Cluster, namespace: str) -> Recorded:
    """Ask with a token that the cluster has not issued."""
    return await cluster.ask("GET", f"{namespace}/pods", token="bad")


async def exceeded_quota(cluster: Cluster, namespace: str) -> Recorded:
    """Create a ReplicationController where the quota is none."""
    quota = named("none", spec={"hard": {"replicationcontrollers": "0"}})
    await cluster.make(f"{namespace}/resourcequotas", quota)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    controller = named("controller", spec={"replicas": 1, "selector": {"a": "b"}, "template": template})
    return await cluster.refused("POST", f"{namespace}/replicationcontrollers?dryRun=All", controller)


async def failed_quota(cluster: Cluster, namespace: str) -> Recorded:
    """Create a pod that does not say how much CPU it wants, where there is a quota of it."""
    await cluster.make(f"{namespace}/resourcequotas", named("cpu", spec={"hard": {"requests.cpu": "1"}}))
    return await cluster.refused("POST", f"{namespace}/pods?dryRun=All", pod())


async def limit_range(cluster: Cluster, namespace: str) -> Recorded:
    """Create a pod above the namespace's limits."""
    limits = [{"type": "Container", "max": {"memory": "8Mi"}}]
    await cluster.make(f"{namespace}/limitranges", named("small", spec={"limits": limits}))
    large = pod()
    large["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1Gi"}}
    return await cluster.refused("POST", f"{namespace}/pods?dryRun=All", large)


async def pod_security(cluster: Cluster, namespace: str) -> Recorded:
    """Create a privileged pod in a restricted namespace."""
    privileged = pod()
    privileged["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    return await cluster.ask("POST", f"{namespace}/pods", privileged)


async def priority_class_missing(cluster: Cluster, namespace: str) -> Recorded:
    """Create a pod of a priority class that does not exist."""
    return await cluster.ask("POST", f"{namespace}/pods", pod(priorityClassName="answers-missing"))


async def priority_forbidden(cluster: Cluster, namespace: str) -> Recorded:
    """Create a pod that gives itself a priority."""
    return await cluster.ask("POST", f"{namespace}/pods", pod(priority=1000000))


async def service_account_missing(cluster: Cluster, namespace: str) -> Recorded:
    """Create a pod for a service account that does not exist."""
    return await cluster.ask("POST", f"{namespace}/pods", pod(serviceAccountName="missing"))


async def namespace_terminating(cluster: Cluster, namespace: str) -> Recorded:
    """Create something in a namespace that is being deleted."""
    held = named("held")
    held["metadata"]["finalizers"] = ["example.com/answers"]
    await cluster.make(f"{namespace}/configmaps", held)
    await cluster.ask("DELETE", namespace)
    answer = await cluster.refused("POST", f"{namespace}/configmaps?dryRun=All", named("new"))
    await cluster.ask("PUT", f"{namespace}/configmaps/held", named("held"))
    return answer


async def namespace_missing(cluster: Cluster, namespace: str) -> Recorded:
    """Create something in a namespace that does not exist."""
    return await cluster.ask("POST", f"{namespace}-missing/configmaps", named("new"))


async def not_found(cluster: Cluster, namespace: str) -> Recorded:
    """Get an object that does not exist."""
    return await cluster.ask("GET", f"{namespace}/pods/missing")


async def already_exists(cluster: Cluster, namespace: str) -> Recorded:
    """Create an object whose name is taken."""
    await cluster.make(f"{namespace}/configmaps", named("taken"))
    return await cluster.ask("POST", f"{namespace}/configmaps", named("taken"))


async def conflict_uid(cluster: Cluster, namespace: str) -> Recorded:
    """Delete an object, meaning another one of the same name."""
    await cluster.make(f"{namespace}/configmaps", named("other"))
    another = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    return await cluster.ask("DELETE", f"{namespace}/configmaps/other", another)


async def conflict_version(cluster: Cluster, namespace: str) -> Recorded:
    """Update an object that has changed meanwhile."""
    made = await cluster.make(f"{namespace}/configmaps", named("changed"))
    await cluster.ask("PUT", f"{namespace}/configmaps/changed", named("changed", data={"a": "b"}))
    return await cluster.ask("PUT", f"{namespace}/configmaps/changed", {**made, "data": {"c": "d"}})


async def invalid(cluster: Cluster, namespace: str) -> Recorded:
    """Create an object that makes no sense."""
    return await cluster.ask("POST", f"{namespace}/replicationcontrollers", named("empty", spec={"replicas": -1}))


async def malformed(cluster: Cluster, namespace: str) -> Recorded:
    """Send what is no object at all."""
    return await cluster.ask("POST", f"{namespace}/configmaps", "{")


async def expired_list(cluster: Cluster, namespace: str) -> Recorded:
    """List a version that etcd has forgotten, which may take it some minutes."""
    path = f"{namespace}/configmaps?resourceVersion=1&resourceVersionMatch=Exact"
    return await cluster.refused("GET", path)


async def expired_watch(cluster: Cluster, namespace: str) -> Recorded:
    """Watch from a version before the cache began, as it does with a new kind; the first line is the answer."""
    names = {"plural": "answers", "singular": "answer", "kind": "Answer"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "answers.example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await cluster.make(definitions, named("answers.answers.example.com", spec=spec))
    kind = namespace.replace("/api/v1", "/apis/answers.example.com/v1") + "/answers"
    await cluster.until(lambda answer: answer.code == 200, "GET", kind)
    return await cluster.ask("GET", f"{kind}?watch=1&resourceVersion=1")


async def version_too_large(cluster: Cluster, namespace: str) -> Recorded:
    """List what must not be older than the future."""
    query = "resourceVersion=999999999999&resourceVersionMatch=NotOlderThan"
    return await cluster.ask("GET", f"{namespace}/configmaps?{query}")


def only(namespace: str) -> Manifest:
    """Return the selector of one namespace."""
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace.rpartition("/")[2]}}


async def webhook_failed(cluster: Cluster, namespace: str) -> Recorded:
    """Call a webhook at an address where nobody listens."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    webhook = {
        "name": "dead.answers.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule],
        "namespaceSelector": only(namespace),
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    path = f"{ADMISSION}/validatingwebhookconfigurations"
    await cluster.make(path, named("answers-dead", webhooks=[webhook]))
    return await cluster.refused("POST", f"{namespace}/configmaps?dryRun=All", named("new"))


async def admission_policy(cluster: Cluster, namespace: str) -> Recorded:
    """Meet a ValidatingAdmissionPolicy that denies everything."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    denial = {"expression": "false", "message": "not here"}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [denial]}
    await cluster.make(f"{ADMISSION}/validatingadmissionpolicies", named("answers-deny", spec=spec))
    binding = {
        "policyName": "answers-deny",
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": only(namespace)},
    }
    await cluster.make(f"{ADMISSION}/validatingadmissionpolicybindings", named("answers-deny", spec=binding))
    return await cluster.refused("POST", f"{namespace}/configmaps?dryRun=All", named("new"))


async def disruption_budget(cluster: Cluster, namespace: str) -> Recorded:
    """Evict a pod that a PodDisruptionBudget protects."""
    budget = named("all", spec={"minAvailable": "100%", "selector": {}})
    policies = namespace.replace("/api/v1", "/apis/policy/v1")
    await cluster.make(f"{policies}/poddisruptionbudgets", budget)
    await cluster.make(f"{namespace}/pods", pod())
    await cluster.until(lambda answer: '"phase":"Running"' in answer.body, "GET", f"{namespace}/pods/pod")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "pod"}}
    return await cluster.ask("POST", f"{namespace}/pods/pod/eviction?dryRun=All", eviction)


async def priority_and_fairness(cluster: Cluster, namespace: str) -> Recorded:
    """Ask twice at once, as a service account whose priority level admits one request at a time."""
    token = await service_account(cluster, namespace)
    limited = {"nominalConcurrencyShares": 0, "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}}
    level = named("answers-one", spec={"type": "Limited", "limited": limited})
    await cluster.make(f"{FLOW_CONTROL}/prioritylevelconfigurations", level)
    name = namespace.rpartition("/")[2]
    subject = {"kind": "ServiceAccount", "serviceAccount": {"namespace": name, "name": "nobody"}}
    every = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    spec = {
        "priorityLevelConfiguration": {"name": "answers-one"},
        "matchingPrecedence": 2,
        "rules": [{"subjects": [subject], "resourceRules": [every]}],
    }
    await cluster.make(f"{FLOW_CONTROL}/flowschemas", named("answers-one", spec=spec))
    roles = namespace.replace("/api/v1", "/apis/rbac.authorization.k8s.io/v1") + "/rolebindings"
    view = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    await cluster.make(roles, named("view", roleRef=view, subjects=[{"kind": "ServiceAccount", "name": "nobody"}]))
    # A request that waits for a future resourceVersion keeps the level's only seat for three seconds.
    path = f"{namespace}/configmaps?resourceVersion=999999999999&resourceVersionMatch=NotOlderThan"
    async with asyncio.timeout(PATIENCE):
        while True:
            answers = await asyncio.gather(*(cluster.ask("GET", path, token=token) for _ in range(2)))
            for answer in answers:
                if answer.code == 429:
                    return answer


CASES = (
    rbac,
    bad_token,
    exceeded_quota,
    failed_quota,
    limit_range,
    pod_security,
    priority_class_missing,
    priority_forbidden,
    service_account_missing,
    namespace_terminating,
    namespace_missing,
    not_found,
    already_exists,
    conflict_uid,
    conflict_version,
    invalid,
    malformed,
    expired_list,
    expired_watch,
    version_too_large,
    webhook_failed,
    admission_policy,
    disruption_budget,
    priority_and_fairness,
)


async def record(cluster: Cluster, case: Callable[[Cluster, str], Awaitable[Recorded]]) -> None:
    """Record one case, in a namespace of its own."""
    name = f"answers-{case.__name__.replace('_', '-')}"
    manifest = named(name)
    manifest["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}
    await cluster.make("/api/v1/namespaces", manifest)
    namespace = f"/api/v1/namespaces/{name}"
    if case is not service_account_missing:
        await cluster.until(lambda answer: answer.code == 200, "GET", f"{namespace}/serviceaccounts/default")
    answer = await case(cluster, namespace)
    sys.stderr.write(f"{case.__name__}: {answer.code} {answer.body[:200]!r}\n")
    file = ANSWERS / f"{case.__name__}.json"
    file.write_text(json.dumps(asdict(answer), indent=2) + "\n")


@asynccontextmanager
async def connected() -> AsyncIterator[Cluster]:
    """Ask the cluster that $KUBECONFIG names; leave nothing behind."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
        cluster = Cluster(load_credentials("kubeconfig", None, None), session)
        try:
            yield cluster
        finally:
            await cluster.clean_up()


async def main(names: list[str]) -> None:
    """Record the cases of these names, all if there are none."""
    ANSWERS.mkdir(exist_ok=True)
    async with connected() as cluster:
        for case in CASES:
            if not names or case.__name__ in names:
                await record(cluster, case)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
