"""What tests need and pip does not install: what each is for, and where to get it."""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest


@dataclass(frozen=True, slots=True)
class Need:
    """A program or an environment variable that tests need."""

    purpose: str
    source: str
    """Where to get the program, or what to set the variable to."""


NEEDS: Mapping[str, Need] = MappingProxyType({
    "alertmanager": Need("sends notifications", "prometheus.io/download"),
    "amtool": Need("checks alert routes", "in Alertmanager's archive, prometheus.io/download"),
    "chromium": Need("opens the status page", "apt install chromium"),
    "go": Need("builds Kuberhealthy's own clients", "go.dev/dl"),
    "helm": Need("renders and installs the chart", "helm.sh/docs/intro/install"),
    "kube-score": Need("checks manifests", "github.com/zegl/kube-score/releases"),
    "kubectl": Need("talks to the cluster", "kubernetes.io/docs/tasks/tools"),
    "prometheus": Need("scrapes khealth and evaluates rules", "prometheus.io/download"),
    "promtool": Need("checks metrics, rules and queries", "in Prometheus's archive, prometheus.io/download"),
    "KHEALTH_CLUSTER": Need("breaks components", "a command, see CONTRIBUTING.md"),
    "KHEALTH_IMAGE": Need("is installed in the cluster", "an image that the nodes have"),
    "KHEALTH_NODE_ADDRESS": Need("answers on NodePorts", "a node whose ports and pods are reachable from here"),
})  # fmt: skip
_REASON = re.compile(r"needs (\S+)$")


def needs(program: str) -> str:
    """Return the path of a program in `NEEDS`; skip the test if it is not installed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "khealth-tools" / "bin"
    return _or_skip(program, shutil.which(program) or shutil.which(program, path=cache))


def needs_variable(name: str) -> str:
    """Return an environment variable in `NEEDS`; skip the test if it is unset or empty."""
    return _or_skip(name, os.environ.get(name))


def _or_skip(name: str, found: str | None) -> str:
    if name not in NEEDS:
        raise KeyError(f"{name} is not in tools.NEEDS: add what it is for and where to get it")
    if not found:
        pytest.skip(f"needs {name}")
    return found


def missing(reasons: Iterable[str]) -> str:
    """Return one line about the skipped tests, given why each was skipped; "" if there are none."""
    counted = Counter(_name(reason) for reason in reasons)
    if not counted:
        return ""
    each = ", ".join(f"{name} ({_explained(name, count)})" for name, count in counted.most_common())
    return f"tests skipped: {counted.total()}, because these are missing: {each}"


def _name(reason: str) -> str:
    found = _REASON.search(reason)
    return found[1] if found and found[1] in NEEDS else reason.removeprefix("Skipped: ")


def _explained(name: str, count: int) -> str:
    need = NEEDS.get(name)
    return f"{count}; {need.purpose}; {need.source}" if need else str(count)
