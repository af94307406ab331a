"""The cluster that KUBECONFIG names; what breaks its components needs KHEALTH_CLUSTER, the command of the test kit."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bodies.target import Target
from kubernetes import client

BREAKS = {
    "scheduler-stalled": (("pause", "resume"), ("kube-scheduler",)),
    "scheduler-stopped": (("stop", "start"), ("kube-scheduler",)),
    "controller-stalled": (("pause", "resume"), ("kube-controller-manager",)),
    "controller-stopped": (("stop", "start"), ("kube-controller-manager",)),
    "kubelet-stalled": (("pause", "resume"), ("kubelet@node-1", "kubelet@node-2")),
    "kubelet-stalled:node-2": (("pause", "resume"), ("kubelet@node-2",)),
    "runtime-stalled": (("pause", "resume"), ("containerd@node-1", "containerd@node-2")),
    "api-paused": (("pause", "resume"), ("kube-apiserver",)),
    "api-down": (("stop", "start"), ("kube-apiserver",)),
    "etcd-stalled": (("pause", "resume"), ("etcd",)),
}
"""What the kit is told to break and to mend, by the simulator's name of the fault."""


class RealCluster(Target):
    """A real Kubernetes."""

    def _begin(self, fault: str) -> None:
        (verb, _), programs = BREAKS[fault]
        self._tell(verb, programs)

    def _end(self, fault: str) -> None:
        (_, verb), programs = BREAKS[fault]
        self._tell(verb, programs)

    def _tell(self, verb: str, programs: tuple[str, ...]) -> None:
        kit = os.environ.get("KHEALTH_CLUSTER")
        if not kit:
            pytest.skip("KHEALTH_CLUSTER names no command that breaks this cluster's components")
        for program in programs:
            subprocess.run([*shlex.split(kit), verb, program], check=True, timeout=60)  # noqa: S603

    def without_rights(self) -> Path:
        """Return a service account's kubeconfig, who may list and watch alone."""
        rbac: Any = client.RbacAuthorizationV1Api(self.api)
        name = "without-rights"
        self.core.create_namespaced_service_account(self.namespace, {"metadata": {"name": name}})
        rules = [{"apiGroups": [""], "resources": ["pods", "replicationcontrollers"], "verbs": ["list", "watch"]}]
        rbac.create_namespaced_role(self.namespace, {"metadata": {"name": name}, "rules": rules})
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}],
        }
        rbac.create_namespaced_role_binding(self.namespace, binding)
        request = {"spec": {"expirationSeconds": 600, "audiences": []}}
        token = self.core.create_namespaced_service_account_token(name, self.namespace, request).status.token
        document = yaml.safe_load(self.kubeconfig.read_text())
        for user in document["users"]:
            user["user"] = {"token": token}
        path = self.folder / "without-rights.kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    """The real cluster, with a namespace of the test's own; everything is mended, and must be gone, afterwards."""
    named = os.environ.get("KUBECONFIG")
    if not named:
        pytest.fail("make e2e needs KUBECONFIG")
    cluster = RealCluster(Path(named), tmp_path)
    cluster.make_namespace()
    yield cluster
    cluster.close()
