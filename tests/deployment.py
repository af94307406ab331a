"""khealth installed in a real cluster as its users install it, and what can be seen of it there."""

import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import yaml
from bodies.target import wait_for
from prometheus_client.parser import text_string_to_metric_families
from tools import needs

ROOT = Path(__file__).parent.parent
CHART = ROOT / "deploy" / "chart"
SINGLE_FILE = ROOT / "deploy" / "khealth.yaml"
OURS = "app.kubernetes.io/name=khealth"
CANARIES = "khealth.io/run"
BORN = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
"""What a namespace has of itself."""
PATIENCE = 180.0
"""Seconds for a Deployment to come or to go, on a busy machine."""


def ran(*words: str, given: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; AssertionError with what it said where it fails."""
    done = subprocess.run(  # noqa: S603
        words, input=given, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT
    )
    assert not check or done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done


def kubectl(*words: str, given: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run kubectl."""
    return ran(needs("kubectl"), *words, given=given, check=check)


def documents(text: str) -> list[Mapping[str, Any]]:
    """Return the documents of a YAML text that hold anything."""
    return [document for document in yaml.safe_load_all(text) if document]


@dataclass(frozen=True)
class Installed:
    """One installation, in its namespace."""

    namespace: str

    def pod(self) -> Mapping[str, Any]:
        """Return khealth's own Pod, once there is exactly one and it is Ready."""
        return wait_for("khealth's pod", self._pod, PATIENCE)  # type: ignore[no-any-return]

    def _pod(self) -> Mapping[str, Any] | None:
        said = kubectl("get", "pods", "-n", self.namespace, "-l", OURS, "-o", "json").stdout
        items = msgspec.json.decode(said)["items"]
        ready = [c["status"] for item in items for c in item["status"].get("conditions", ()) if c["type"] == "Ready"]
        return items[0] if ready == ["True"] else None

    def page(self, path: str) -> str:
        """Return a page that it serves, by way of the API server; an AssertionError where that is not 200."""
        name = self.pod()["metadata"]["name"]
        return kubectl("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{name}:8080/proxy{path}").stdout

    def metric(self, name: str, **labels: str) -> float | None:
        """Return a series' value, None where it is absent."""
        for family in text_string_to_metric_families(self.page("/metrics")):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def objects(self, *kinds: str) -> list[Mapping[str, Any]]:
        """Return what khealth's routines have made."""
        words = ("get", ",".join(kinds), "-n", self.namespace, "-l", CANARIES, "-o", "json")
        return msgspec.json.decode(kubectl(*words).stdout)["items"]  # type: ignore[no-any-return]

    def held(self) -> list[Mapping[str, Any]]:
        """Return the ReplicationController of an attempt that is in progress, and its pods, if all of them run."""
        found = self.objects("pods", "replicationcontrollers")
        ours = [one for one in found if one["metadata"]["labels"]["khealth.io/routine"] == "rcscheduler"]
        pods = [one for one in ours if one["kind"] == "Pod"]
        running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        ending = any("deletionTimestamp" in one["metadata"] for one in ours)
        return ours if len(ours) > len(pods) == len(running) > 0 and not ending else []

    def wait_for_hold(self) -> list[Mapping[str, Any]]:
        """Return in the midst of an attempt what it has made."""
        return wait_for("canaries that run", self.held, PATIENCE)  # type: ignore[no-any-return]

    def everything(self) -> set[str]:
        """Return what there is in the namespace, Events and what it has of itself left out."""
        said = kubectl("get", ",".join(_kinds()), "-n", self.namespace, "--ignore-not-found", "-o", "name").stdout
        return set(said.split()) - BORN


@cache
def _kinds() -> Sequence[str]:
    said = kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").stdout.split()
    return [kind for kind in said if not kind.startswith("events") and "metrics.k8s.io" not in kind]


def cluster_wide() -> str:
    """Return the names of what khealth has outside of namespaces."""
    kinds = "clusterroles,clusterrolebindings,priorityclasses"
    return kubectl("get", kinds, "-l", OURS, "-o", "name").stdout.strip()


@contextmanager
def prometheus(folder: Path, scrapes: Mapping[str, Any], **settings: Any) -> Iterator[str]:
    """Run a Prometheus with one scrape configuration until the block ends; yield its address.

    `settings` are further parts of its configuration file, by name.
    """
    known = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "scrape_configs": [scrapes]}
    words = ("--config.file={file}", "--storage.tsdb.path={folder}/data", "--web.listen-address={address}")
    with _served("prometheus", folder, known | settings, words) as address:
        yield address


@contextmanager
def alertmanager(folder: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    """Run an Alertmanager with this configuration, and without peers, until the block ends; yield its address."""
    words = ("--config.file={file}", "--storage.path={folder}/nflog", "--web.listen-address={address}")
    with _served("alertmanager", folder, settings, (*words, "--cluster.listen-address=")) as address:
        yield address


@contextmanager
def _served(name: str, folder: Path, settings: Mapping[str, Any], words: Sequence[str]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(dict(settings)))
    command = [needs(name), *(word.format(file=file, folder=folder, address=address) for word in words)]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


def asked(prometheus_address: str, query: str) -> list[Mapping[str, Any]]:
    """Return what Prometheus answers; nothing while it is not there yet; HTTPError where it refuses the query."""
    try:
        return told(f"{prometheus_address}/api/v1/query", query=query)["data"]["result"]  # type: ignore[no-any-return]
    except OSError as error:
        if isinstance(error, urllib.error.HTTPError) and error.code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return []


def told(url: str, **parameters: str) -> Any:
    """Return what an HTTP API on this machine answers, decoded from JSON; OSError where it does not."""
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=60) as answer:  # noqa: S310 - on this machine
        return msgspec.json.decode(answer.read())
