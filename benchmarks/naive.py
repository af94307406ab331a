"""What a script of an afternoon does: the official client, a poll each second, and nothing on arrival."""

import json
import sys
import time
from typing import Any

from kubernetes import client, config

from khealth_exporter.canaries.pod_spec import PodSettings, pod_spec

PAUSE = 1.0
"""Seconds between two looks."""
PATIENCE = 60
"""Looks until it gives up."""


def attempt(api: Any, namespace: str, name: str, replicas: int) -> float:  # noqa: ANN401 - the client has no types
    """Create a controller, wait until its pods are Ready, delete it; return the seconds until they were Ready."""
    labels = {"bench": name}
    begun = time.monotonic()
    api.create_namespaced_replication_controller(
        namespace,
        {
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": labels,
                "template": {"metadata": {"labels": labels}, "spec": pod_spec(PodSettings(), labels)},
            },
        },
    )
    until(lambda: sum(map(ready, pods(api, namespace, name))) == replicas)
    took = time.monotonic() - begun
    api.delete_namespaced_replication_controller(name, namespace, propagation_policy="Foreground")
    until(lambda: not pods(api, namespace, name))
    return took


def pods(api: Any, namespace: str, name: str) -> Any:  # noqa: ANN401
    """Return the pods of an attempt."""
    return api.list_namespaced_pod(namespace, label_selector=f"bench={name}").items


def ready(pod: Any) -> bool:  # noqa: ANN401
    """Tell whether a pod is Ready."""
    return any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions or ())


def until(true: Any) -> None:  # noqa: ANN401
    """Look each second until something holds."""
    for _ in range(PATIENCE):
        if true():
            return
        time.sleep(PAUSE)
    sys.exit("the naive script gave up")


def main(namespace: str, attempts: int, replicas: int) -> None:
    """Make some attempts, and print how long each took and its processor time as a line of JSON."""
    config.load_kube_config()  # type: ignore[no-untyped-call]  # it has no types
    api = client.CoreV1Api()
    api.api_client.user_agent = "bench-naive"
    for number in range(attempts):
        before = time.process_time()
        took = attempt(api, namespace, f"naive-{number}", replicas)
        print(json.dumps({"ready_seconds": took, "cpu_seconds": time.process_time() - before}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
