"""The chart as helm renders it, and sets of values to render it with."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.render import CHART

Json = dict[str, Any]

CUSTOM = {"ServiceMonitor", "PrometheusRule"}
"""Kinds that Kubernetes itself does not know."""

TWO_POOLS: Json = {
    "config": {
        "measurement": {"loop_lag": "30ms"},
        "modules": {
            "rcscheduler": {
                "rcscheduler": {"timeout": "15s", "replicas": 4},
                "arm64": {
                    "kind": "rcscheduler",
                    "interval": "3m",
                    "timeout": "1m10s",
                    "pod": {"nodeSelector": {"kubernetes.io/arch": "arm64"}, "priorityClassName": "low"},
                },
            }
        },
    }
}
SUSPENDED: Json = {"config": {"modules": {"rcscheduler": {"suspend": True}}}}
ELSEWHERE: Json = {"canaries": {"namespace": "canaries"}, "namespace": {"create": True}}
BARE: Json = {
    "canaries": {"priorityClass": {"create": False}},
    "rbac": {"nodes": False},
    "service": {"enabled": False},
    "metrics": {"discovery": "none"},
    "networkPolicy": {"enabled": False},
    "tests": {"enabled": False},
}
SECURED: Json = {
    "web": {"config": {"basic_auth_users": {"alice": "$2y$10$hash"}}, "tlsSecret": "khealth-tls"},
    "probes": {"httpHeaders": [{"name": "Authorization", "value": "Basic YTpi"}]},
    "service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24"], "externalTrafficPolicy": "Local"},
}
ALERTING: Json = {
    "prometheusRule": {
        "enabled": True,
        "namespace": "monitoring",
        "labels": {"release": "prometheus"},
        "annotations": {"team": "sre"},
        "objective": 0.999,
        "runbookBaseUrl": "https://runbooks.example/khealth",
        "alerts": {
            "KhealthWatchdog": {"enabled": True},
            "KhealthBlind": {"enabled": False},
            "KhealthStale": {
                "severity": "warning",
                "for": "10m",
                "keepFiringFor": "1m30s",
                "labels": {"team": "sre"},
                "annotations": {"summary": "Look at {{ $labels.job }}.", "grafana": "https://grafana.example"},
                "expr": "up == 0",
            },
        },
    }
}
OPERATOR: Json = {
    "metrics": {
        "discovery": "serviceMonitor",
        "serviceMonitor": {
            "namespace": "monitoring",
            "labels": {"release": "prometheus"},
            "annotations": {"team": "sre"},
            "interval": "15s",
            "scrapeTimeout": "10s",
            "jobLabel": "app.kubernetes.io/name",
            "honorLabels": True,
            "relabelings": [{"targetLabel": "cluster", "replacement": "one"}],
            "metricRelabelings": [{"action": "drop", "regex": "python_.*", "sourceLabels": ["__name__"]}],
            "scheme": "https",
            "tlsConfig": {"insecureSkipVerify": True},
            "basicAuth": {"username": {"name": "s", "key": "u"}, "password": {"name": "s", "key": "p"}},
            "sampleLimit": 5000,
        },
    },
    "service": {"type": "ClusterIP"},
}
EVERYTHING: Json = {
    "nameOverride": "canary",
    "fullnameOverride": "canary-one",
    "namespaceOverride": "monitoring",
    "commonLabels": {"team": "sre"},
    "extraManifests": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-object"}},
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: text",
    ],
    "global": {"imageRegistry": "registry.example", "imagePullSecrets": [{"name": "all"}]},
    "image": {"registry": "other.example", "repository": "team/khealth", "tag": "1", "digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "own"}],
    "canaries": {
        "pod": {
            "image": "mirror.example/pause:1",
            "imagePullSecrets": [{"name": "mirror"}],
            "nodeSelector": {"pool": "a"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "labels": {"c": "d"},
            "annotations": {"a": "b"},
            "resources": {"limits": {"cpu": 1, "memory": "16Mi"}},
            "runAsUser": 1000650000,
            "runtimeClassName": "gvisor",
        },
        "priorityClass": {"name": "canary-low", "value": -20},
        "quota": {"pods": 7},
    },
    "serviceAccount": {"name": "own", "annotations": {"a": "b"}},
    "replicaCount": 2,
    "deploymentAnnotations": {"a": "b"},
    "podAnnotations": {"a": "b"},
    "podLabels": {"pool": "a"},
    "log": {"level": "debug", "format": "json"},
    "extraArgs": ["--poll-interval=1s"],
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example"}],
    "extraVolumes": [{"name": "extra", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "extra", "mountPath": "/extra"}],
    "extraContainers": [{"name": "side", "image": "side:1"}],
    "terminationGracePeriodSeconds": 90,
    "priorityClassName": "high",
    "nodeSelector": {"pool": "b"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "canary"}},
        }
    ],
    "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["api.example"]}],
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["192.0.2.53"]},
    "probes": {"type": "tcp"},
    "web": {"existingSecret": "web", "scheme": "https"},
    "service": {"nodePort": None, "annotations": {"a": "b"}, "labels": {"c": "d"}},
    "metrics": {"service": {"annotations": {"a": "b"}, "labels": {"c": "d"}}},
    "networkPolicy": {
        "extraIngress": [{"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}],
        "extraEgress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}],
    },
}
AGENTS: Json = {"config": {"modules": {"network": None, "storage": None}}}
AGENTS_EVERYWHERE: Json = {
    "config": {
        "agents": {"channel": "proxy"},
        "kuberhealthy": {"listen": "0.0.0.0:9090"},
        "modules": {
            "network": {"dns": {}, "latency": {}},
            "custom": {
                "dns": {
                    "kind": "check",
                    "protocol": "kuberhealthy",
                    "template": {"kind": "Pod", "spec": {"containers": [{"name": "main", "image": "check:1"}]}},
                }
            },
        },
    },
    "commonLabels": {"team": "sre", "tier": "three"},
    "imagePullSecrets": ["own"],
    "canaries": {"namespace": "canaries", "pod": {"imagePullSecrets": ["pause"], "runAsUser": 1000650000}},
    "agents": {
        "kind": "DaemonSet",
        "nodeSelector": {"pool": "a"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "labels": {"tier": "two", "istio.io/dataplane-mode": "ambient"},
        "annotations": {"a": "b", "linkerd.io/inject": "enabled"},
        "resources": {"requests": {"memory": "20Mi"}, "limits": {"memory": "32Mi"}},
        "priorityClassName": "low",
        "hostNetwork": True,
        "runtimeClassName": "gvisor",
    },
    "networkPolicy": {"apiServers": [{"ipBlock": {"cidr": "192.0.2.1/32"}}]},
}
SETS: Mapping[str, Json] = {
    "default": {},
    "two pools": TWO_POOLS,
    "suspended": SUSPENDED,
    "elsewhere": ELSEWHERE,
    "bare": BARE,
    "secured": SECURED,
    "alerting": ALERTING,
    "operator": OPERATOR,
    "everything": EVERYTHING,
    "agents": AGENTS,
    "agents everywhere": AGENTS_EVERYWHERE,
}
"""Sets of values that between them say something of nearly every value."""


@dataclass(frozen=True)
class Manifests:
    """What was rendered."""

    text: str

    def __iter__(self) -> Iterator[Json]:
        """Iterate over the documents."""
        return (document for document in yaml.safe_load_all(self.text) if document)

    def one(self, kind: str, name: str = "") -> Json:
        """Return the only object of a kind, and of a name if there are several."""
        (found,) = (d for d in self if d["kind"] == kind and name in {"", d["metadata"]["name"]})
        return found

    @property
    def kinds(self) -> list[str]:
        """Every object's kind and name."""
        return sorted(f"{document['kind']}/{document['metadata']['name']}" for document in self)

    @property
    def exporter(self) -> Json:
        """Khealth's own Deployment."""
        return next(d for d in self if d["kind"] == "Deployment" and d["metadata"]["name"] != "khealth-agent")

    @property
    def pod(self) -> Json:
        """The specification of khealth's own pod."""
        return self.exporter["spec"]["template"]["spec"]  # type: ignore[no-any-return]

    @property
    def container(self) -> Json:
        """The container that khealth runs in."""
        return self.pod["containers"][0]  # type: ignore[no-any-return]

    @property
    def config(self) -> str:
        """The configuration file."""
        (found,) = (d["data"] for d in self if d["kind"] == "ConfigMap" and "khealth.yaml" in d.get("data", {}))
        return str(found["khealth.yaml"])


class Helm:
    """helm, which renders each set of values once."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._known: dict[str, subprocess.CompletedProcess[str]] = {}

    def template(self, values: Json, *flags: str, chart: Path = CHART, release: str = "khealth") -> Manifests:
        """Return what a release in a namespace khealth would install."""
        done = self._template(values, flags, chart, release)
        assert done.returncode == 0, done.stderr
        return Manifests(done.stdout)

    def refusal(self, values: Json, *flags: str) -> str:
        """Return why it will not have these values."""
        done = self._template(values, flags, CHART, "khealth")
        assert done.returncode != 0, done.stdout
        return done.stderr

    def _template(
        self, values: Json, flags: tuple[str, ...], chart: Path, release: str
    ) -> subprocess.CompletedProcess[str]:
        key = json.dumps([values, flags, str(chart), release])
        if key not in self._known:
            self._known[key] = self.run(
                "template", release, str(chart), "--namespace=khealth", "--values=-", *flags, given=json.dumps(values)
            )
        return self._known[key]

    def run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of helm to its end."""
        return subprocess.run(  # noqa: S603 - helm itself
            [self._command, *words], input=given, capture_output=True, text=True, check=False
        )
