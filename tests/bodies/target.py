"""What a test body needs of a cluster, simulated or real: a namespace, faults on order, and khealth run against it."""

import json
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from prometheus_client.parser import text_string_to_metric_families

from bodies.attempts import Once, repeated

SERVING = ("--listen", "127.0.0.1:0", "--log.format", "json")
"""What makes a `khealth run` serve on a port of its own, and say which."""
SELECTOR = "app.kubernetes.io/managed-by=khealth"


def wait_for(what: str, true: Callable[[], Any], seconds: float = 60) -> Any:
    """Return what a condition gives once it gives something; AssertionError at the end of the bound."""
    deadline = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


@dataclass(frozen=True)
class ApiServer:
    """Where it is, and the authority that its certificate comes from."""

    host: str
    port: int
    authority: str


class Target(ABC):
    """One cluster, and a namespace in it for one test."""

    timeout = 8.0
    """Seconds that bound init in tests that break something: a paused kubelet's node turns NotReady after 20 s."""
    crowded = 8.0
    """The same where all routines run side by side."""
    fastest = 0.5
    """Seconds that every pod takes at least until it is Ready."""
    patience = 90.0
    """Seconds within which a healthy cluster does anything."""
    image = ""
    """The image of canaries that measure something; empty if the cluster has none."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.kubeconfig, self.folder = kubeconfig, folder
        self.namespace = f"khealth-test-{secrets.token_hex(3)}"
        # Plain dictionaries say what is meant more shortly than the client's own types.
        self.api: Any = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
        self.core: Any = client.CoreV1Api(self.api)
        self.admission: Any = client.AdmissionregistrationV1Api(self.api)
        self.apps: Any = client.AppsV1Api(self.api)
        self.batch: Any = client.BatchV1Api(self.api)
        self.storage_api: Any = client.StorageV1Api(self.api)
        self.policies: Any = client.NetworkingV1Api(self.api)
        self._broken: list[str] = []

    @abstractmethod
    def _begin(self, fault: str) -> None: ...

    @abstractmethod
    def _end(self, fault: str) -> None: ...

    @abstractmethod
    def for_pods(self) -> AbstractContextManager["ApiServer"]:
        """Return where a pod would find the API server."""

    @property
    def server(self) -> str:
        """The API server's URL."""
        (found,) = yaml.safe_load(self.kubeconfig.read_text())["clusters"]
        return str(found["cluster"]["server"])

    @contextmanager
    def broken(self, fault: str) -> Iterator[None]:
        """Break something for the block, and mend it."""
        self.begin(fault)
        try:
            yield
        finally:
            self.end(fault)

    def begin(self, fault: str) -> None:
        """Break something until `end`, or until the test is over."""
        self._broken.append(fault)
        self._begin(fault)

    def end(self, fault: str) -> None:
        """Mend what was broken."""
        self._end(fault)
        self._broken.remove(fault)

    def make_namespace(self) -> None:
        """Make the test's namespace, and wait until it can hold pods."""
        body = {"metadata": {"name": self.namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
        self.core.create_namespace(body)
        wait_for("a service account", self._has_service_account, self.patience)

    def _has_service_account(self) -> bool:
        found = self.core.list_namespaced_service_account(self.namespace).items
        return any(account.metadata.name == "default" for account in found)

    def close(self) -> None:
        """Mend everything; what was broken may have left objects, but not after one sweep."""
        for fault in list(self._broken):
            self.end(fault)
        wait_for("a healthy cluster", self.healthy, self.patience)
        if self.objects():
            swept = self.run("sweep", "--all", "--timeout", "60s")
            assert swept.returncode == 0, swept.stderr
        left = self.objects()
        self.core.delete_namespace(self.namespace)
        assert [] == left, left

    def namespaces(self) -> list[str]:
        """Return the names of all namespaces."""
        return [found.metadata.name for found in self.core.list_namespace().items]

    def healthy(self) -> bool:
        """Tell whether the API server answers and every node is Ready."""
        try:
            nodes = self.core.list_node(_request_timeout=5).items
        except Exception:  # noqa: BLE001 - whatever it is, it is not healthy yet
            return False
        ready = [c.status for node in nodes for c in node.status.conditions or [] if c.type == "Ready"]
        return len(ready) == len(nodes) > 0 and set(ready) == {"True"}

    def objects(self) -> list[str]:
        """Return the names of all khealth objects of the namespace."""
        lists = (
            self.core.list_namespaced_replication_controller,
            self.core.list_namespaced_config_map,
            self.core.list_namespaced_secret,
            self.core.list_namespaced_service,
            self.policies.list_namespaced_network_policy,
            self.core.list_namespaced_persistent_volume_claim,
            self.apps.list_namespaced_deployment,
            self.apps.list_namespaced_replica_set,
            self.apps.list_namespaced_stateful_set,
            self.batch.list_namespaced_job,
        )
        found = (item for kind in lists for item in kind(self.namespace, label_selector=SELECTOR).items)
        return [item.metadata.name for item in (*found, *self.pods())]

    def pods(self) -> list[Any]:
        """Return the canary pods."""
        return self.core.list_namespaced_pod(self.namespace, label_selector=SELECTOR).items  # type: ignore[no-any-return]

    def pod_is_ready(self) -> str | None:
        """Return the name of a canary pod that is Ready and stays, if there is one."""
        for pod in self.pods():
            conditions = {c.type: c.status for c in pod.status.conditions or []}
            if conditions.get("Ready") == "True" and not pod.metadata.deletion_timestamp:
                return str(pod.metadata.name)
        return None

    def configure(self, **settings: Any) -> Path:
        """Write a configuration of rcscheduler with these settings, and of the other routines with the same bounds."""
        interval = {"interval": settings["interval"]} if "interval" in settings else {}
        bounds = {"timeout": settings["timeout"], **interval} if "timeout" in settings else {}
        modules = {
            "rcscheduler": {"rcscheduler": settings},
            "control-plane": {"api": bounds, "admission": bounds, "controllers": bounds},
            "workloads": {"pod": bounds, "deployment": bounds, "collect": bounds, "job": bounds},
        }
        if not self.image:
            del modules["workloads"]["job"]
        text = {"canary": {"image": self.image}, "modules": modules}
        return self._written(text)

    def _written(self, text: Mapping[str, Any]) -> Path:
        path = self.folder / f"khealth-{secrets.token_hex(2)}.yaml"
        path.write_text(yaml.safe_dump(text))
        return path

    def quick(self, **settings: Any) -> Path:
        """Write a configuration with bounds that suit tests which break something."""
        return self.configure(**{"timeout": f"{self.timeout:g}s", "pod_ttl": "2s", "poll_interval": "1s"} | settings)

    def command(self, *arguments: object, kubeconfig: Path | None = None) -> list[str]:
        """Return khealth's command line against this cluster."""
        command, *rest = map(str, arguments)
        given = ("--kubeconfig", str(kubeconfig or self.kubeconfig), "--namespace", self.namespace)
        return [sys.executable, "-m", "khealth_exporter", command, *given, *rest]

    def run(self, *arguments: object, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run khealth to its end."""
        words = self.command(*arguments, kubeconfig=kubeconfig)
        return subprocess.run(words, capture_output=True, text=True, timeout=150, check=False)  # noqa: S603

    def attempt(self, settings: Path, *names: str, kubeconfig: Path | None = None) -> Once:
        """Run `khealth once --json` with every routine that is configured, or with those that are named."""
        done = self.run("once", "--config", settings, "--json", *names, kubeconfig=kubeconfig)
        assert done.stdout, done.stderr
        return Once(done.returncode, json.loads(done.stdout), done.stderr)

    def once(self, settings: Path, kubeconfig: Path | None = None) -> Once:
        """Make an attempt of rcscheduler; one that the machine has spoiled is made again."""
        return repeated(lambda: self.attempt(settings, "rcscheduler", kubeconfig=kubeconfig), _spoiled)

    def every(self, settings: Path, *names: str) -> Once:
        """Do the same with every routine that is configured, or with those that are named."""
        return repeated(lambda: self.attempt(settings, *names), _spoiled)

    def under(self, fault: str, settings: Path, *names: str) -> Once:
        """Do the same while something is broken. Each attempt begins with a healthy cluster."""

        def attempt() -> Once:
            with self.broken(fault):
                found = self.attempt(settings, *names)
            if found.spoiled:
                wait_for("a healthy cluster", self.healthy, self.patience)
            return found

        return repeated(attempt, _spoiled)

    def storage(self, **settings: Any) -> Path:
        """Write a configuration of the module storage, with these settings of volume."""
        routines = {"disk": {}, "volume": settings, "config": {}}
        return self._written({"canary": {"image": self.image}, "modules": {"storage": routines}})

    def network(self, *, agents: Mapping[str, Any] | None = None, service: Mapping[str, Any] | None = None) -> Path:
        """Write a configuration of the module network; canaries are khealth's own, and so are the agents.

        An answer within seconds is one, however busy the machine is.
        """
        patient = {"lost_after": "4s", "slow": "3s", "spacing": "5ms"}
        routines: dict[str, object] = {"dns": {"answer_timeout": "3.5s"}, "latency": patient, "service": service or {}}
        modules = {"network": routines}
        return self._written({"canary": {"image": self.image}, "agents": agents or {}, "modules": modules})

    def checks(self, *arguments: str, kind: str = "Pod", **settings: Any) -> Path:
        """Write a configuration of one check, custom/mine, whose container runs `khealth canary` with these words."""
        spec = {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65535,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "mine",
                    "image": self.image,
                    "command": ["python3", "-m", "khealth_exporter.canary", *arguments],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        }
        template = {"kind": kind, "spec": spec if kind == "Pod" else {"template": {"spec": spec}}}
        check = {"kind": "check", "timeout": "60s", "template": template, **settings}
        # Any port: other tests listen too.
        return self._written({"kuberhealthy": {"listen": ":0"}, "modules": {"custom": {"mine": check}}})

    @contextmanager
    def volumes(self) -> Iterator[None]:
        """Let pods use the volumes that are provisioned in the block."""
        yield

    def claimed_volumes(self) -> list[str]:
        """Return the names of the volumes that were provisioned for the namespace."""
        volumes = self.core.list_persistent_volume().items
        claims = [(v.metadata.name, v.spec.claim_ref.namespace) for v in volumes if v.spec.claim_ref]
        return [name for name, namespace in claims if namespace == self.namespace]

    @property
    def routines(self) -> set[str]:
        """The routines that `configure` configures."""
        always = {"rcscheduler", "api", "admission", "controllers", "pod", "deployment", "collect"}
        return always | ({"job"} if self.image else set())

    @contextmanager
    def running(self, settings: Path, *modules: str, kubeconfig: Path | None = None) -> Iterator["Running"]:
        """Run `khealth run` with rcscheduler, or these modules, for the block; kill it in the end if it still runs."""
        words = ("run", "--config", settings, *SERVING, *(modules or ("rcscheduler",)))
        with self.started(self.command(*words, kubeconfig=kubeconfig)) as running:
            yield running

    @contextmanager
    def started(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator["Running"]:
        """Do the same with another command line."""
        log = self.folder / f"run-{secrets.token_hex(2)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=stream, env=environment)  # noqa: S603
        running = Running(process, log)
        try:
            yield running
        finally:
            process.kill()
            process.wait()


def _spoiled(found: Once) -> bool:
    return found.spoiled


class Running:
    """A `khealth run` that serves on a port of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log
        self.address = wait_for("serving", self._serving)
        """Host and port of its pages."""

    def _serving(self) -> str | None:
        assert self.process.poll() is None, self.log
        match = re.search(r'"serving"', self.log) and re.search(r"127\.0\.0\.1:(\d+)", self.log)
        return match.group(0) if match else None

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Return a page's code and text."""
        return self._ask("GET", path)

    def post(self, path: str) -> tuple[int, str]:
        """Send an empty POST, and return the answer's code and text."""
        return self._ask("POST", path)

    def _ask(self, method: str, path: str) -> tuple[int, str]:
        request = urllib.request.Request(f"http://{self.address}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - it is HTTP
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float | None:
        """Return a series' value, None where it is absent."""
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def forbidden(self) -> list[tuple[str, str | None, str | None, bool]]:
        """Return the rights that /status says it lacks: verb, resource, namespace, and whether it does without."""
        lacking = json.loads(self.get("/status")[1])["forbidden"]
        return [(right["verb"], right["resource"], right["namespace"], right["optional"]) for right in lacking]

    def state(self) -> int:
        """Return the code of /status: 200 well, 500 failing, 503 not known."""
        return self.get("/status")[0]

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)
