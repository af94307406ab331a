"""What a script of an afternoon does: the official client, a poll each second, and nothing on arrival."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from kubernetes import client, config

from khealth_exporter.canaries.pod_spec import PodSettings, pod_spec

PAUSE = 1.0
"""Seconds between two looks."""
PATIENCE = 60
"""Looks until it gives up."""
REPLICAS = 3

Api = Any
"""The official client's; it has no types."""


def rcscheduler(api: Api, namespace: str, name: str) -> None:
    """Create a controller, wait until its pods are Ready, delete it."""
    labels = {"bench": name}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(PodSettings(), labels)}
    spec = {"replicas": REPLICAS, "selector": labels, "template": template}
    api.create_namespaced_replication_controller(namespace, {"metadata": {"name": name}, "spec": spec})
    until(lambda: sum(map(ready, pods(api, namespace, name))) == REPLICAS)
    api.delete_namespaced_replication_controller(name, namespace, propagation_policy="Foreground")
    until(lambda: not pods(api, namespace, name))


def pod(api: Api, namespace: str, name: str) -> None:
    """Create a pod, wait until it is Ready, delete it."""
    labels = {"bench": name}
    body = {"metadata": {"name": name, "labels": labels}, "spec": pod_spec(PodSettings(), labels)}
    api.create_namespaced_pod(namespace, body)
    until(lambda: sum(map(ready, pods(api, namespace, name))) == 1)
    api.delete_namespaced_pod(name, namespace)
    until(lambda: not pods(api, namespace, name))


def api(api: Api, namespace: str, name: str) -> None:
    """Create a ConfigMap, read it, change it, list it and delete it."""
    made = {"metadata": {"name": name, "labels": {"bench": name}}, "data": {"value": "1"}}
    api.create_namespaced_config_map(namespace, made)
    found = api.read_namespaced_config_map(name, namespace)
    found.data = {"value": "2"}
    api.replace_namespaced_config_map(name, namespace, found)
    until(
        lambda: api.list_namespaced_config_map(namespace, label_selector=f"bench={name}").items[0].data["value"] == "2"
    )
    api.delete_namespaced_config_map(name, namespace)


ATTEMPTS: Mapping[str, Callable[[Api, str, str], None]] = {"rcscheduler": rcscheduler, "pod": pod, "api": api}
"""By kind of routine, what does the same."""


def pods(api: Api, namespace: str, name: str) -> Any:  # noqa: ANN401
    """Return the pods of an attempt."""
    return api.list_namespaced_pod(namespace, label_selector=f"bench={name}").items


def ready(pod: Any) -> bool:  # noqa: ANN401
    """Tell whether a pod is Ready."""
    return any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions or ())


def until(true: Callable[[], bool]) -> None:
    """Look each second until something holds."""
    for _ in range(PATIENCE):
        if true():
            return
        time.sleep(PAUSE)
    sys.exit("the naive script gave up")


def main(namespace: str, attempts: int, kind: str) -> None:
    """Make some attempts, and print the processor time of each, in seconds, as a line of JSON."""
    config.load_kube_config()  # type: ignore[no-untyped-call]  # it has no types
    core = client.CoreV1Api()
    core.api_client.user_agent = "bench-naive"
    for number in range(attempts):
        before = time.process_time()
        ATTEMPTS[kind](core, namespace, f"naive-{number}")
        print(json.dumps({"cpu_seconds": time.process_time() - before}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
