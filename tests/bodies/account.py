"""A service account in the test's namespace, with the rights that khealth asks for, or with some of them taken away."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from bodies.target import Target, wait_for
from khealth_exporter.cluster import namespace
from khealth_exporter.modules import MODULES
from khealth_exporter.vocabulary.permission import Permission

RIGHTS = frozenset(right for module in MODULES for kind in module.routines for right in kind.all_permissions())
"""Every right that khealth asks for in a namespace which exists."""
HOURS = 3600
GROUP = "rbac.authorization.k8s.io"


def right(verb: str, resource: str) -> Permission:
    """Return one of khealth's rights by its name."""
    (found,) = (one for one in (*RIGHTS, *namespace.PERMISSIONS) if (one.verb, one.resource) == (verb, resource))
    return found


class Account:
    """A service account, its kubeconfig with a token in a file, and the Secret that the token is bound to."""

    def __init__(self, target: Target, name: str = "khealth") -> None:
        self.target, self.name = target, name
        self.rbac: Any = client.RbacAuthorizationV1Api(target.api)
        self.reviews: Any = client.AuthorizationV1Api(target.api)
        self.wide = f"{target.namespace}-{name}"
        """Name of its ClusterRole: no other test's."""
        self.user = f"system:serviceaccount:{target.namespace}:{name}"
        self.token_file = target.folder / f"{name}.token"
        self._secrets = 0

    def make(self, rights: frozenset[Permission]) -> None:
        """Make the account, bind both roles to it, and wait until they are in force."""
        metadata = {"name": self.name}
        self.target.core.create_namespaced_service_account(self.target.namespace, {"metadata": metadata})
        subjects = [{"kind": "ServiceAccount", "name": self.name, "namespace": self.target.namespace}]
        self.rbac.create_namespaced_role(self.target.namespace, {"metadata": metadata, "rules": []})
        reference = {"apiGroup": GROUP, "kind": "Role", "name": self.name}
        binding = {"metadata": metadata, "roleRef": reference, "subjects": subjects}
        self.rbac.create_namespaced_role_binding(self.target.namespace, binding)
        self.rbac.create_cluster_role({"metadata": {"name": self.wide}, "rules": []})
        reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": self.wide}
        self.rbac.create_cluster_role_binding(
            {"metadata": {"name": self.wide}, "roleRef": reference, "subjects": subjects}
        )
        self.grant(rights)
        self.renew()

    def grant(self, rights: frozenset[Permission]) -> None:
        """Let it do this and nothing else, and wait until that is in force."""
        role = {"rules": _rules(right for right in rights if right.scope == "namespace")}
        self.rbac.patch_namespaced_role(self.name, self.target.namespace, role)
        role = {"rules": _rules(right for right in rights if right.scope == "cluster")}
        self.rbac.patch_cluster_role(self.wide, role)
        wait_for("the roles to be in force", lambda: {right for right in RIGHTS if self.may(right)} == rights & RIGHTS)

    def may(self, right: Permission) -> bool:
        """Tell whether it may do this, as the API server sees it now."""
        where = {"namespace": self.target.namespace} if right.scope == "namespace" else {}
        asked = {"verb": right.verb, "group": right.group, "resource": right.resource, **where}
        review = {"spec": {"user": self.user, "resourceAttributes": asked}}
        return bool(self.reviews.create_subject_access_review(review).status.allowed)

    @property
    def secret(self) -> str:
        """The Secret that the present token is bound to."""
        return f"{self.name}-token-{self._secrets}"

    def revoke(self) -> None:
        """Revoke the present token: the Secret that it is bound to goes."""
        self.target.core.delete_namespaced_secret(self.secret, self.target.namespace)

    def renew(self) -> None:
        """Put a new token into the file, at one stroke, as the kubelet does."""
        self._secrets += 1
        body = {"metadata": {"name": self.secret}}
        secret = self.target.core.create_namespaced_secret(self.target.namespace, body)
        bound = {"apiVersion": "v1", "kind": "Secret", "name": self.secret, "uid": secret.metadata.uid}
        request = {"spec": {"expirationSeconds": HOURS, "audiences": [], "boundObjectRef": bound}}
        create = self.target.core.create_namespaced_service_account_token
        token = create(self.name, self.target.namespace, request).status.token
        new = self.token_file.with_suffix(".new")
        new.write_text(token)
        new.replace(self.token_file)

    def kubeconfig(self, server: str = "") -> Path:
        """Return a kubeconfig of this account; its `server` may be another way to the same one."""
        document = yaml.safe_load(self.target.kubeconfig.read_text())
        for user in document["users"]:
            user["user"] = {"tokenFile": str(self.token_file)}
        for entry in document["clusters"] if server else ():
            scheme, _, host = entry["cluster"]["server"].partition("://")
            entry["cluster"] |= {"server": f"{scheme}://{server}", "tls-server-name": host.rpartition(":")[0]}
        path = self.target.folder / f"{self.name}{'-' if server else ''}{server.rpartition(':')[2]}.kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    def remove(self) -> None:
        """Remove what the namespace does not take with it."""
        for delete in (self.rbac.delete_cluster_role_binding, self.rbac.delete_cluster_role):
            with suppress(ApiException):
                delete(self.wide)


@contextmanager
def account(target: Target, rights: frozenset[Permission] = RIGHTS, name: str = "khealth") -> Iterator[Account]:
    """Make a service account with these rights for the block."""
    made = Account(target, name)
    try:
        made.make(rights)
        yield made
    finally:
        made.remove()


def _rules(rights: Iterator[Permission]) -> list[dict[str, Any]]:
    verbs: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for right in rights:
        verbs[right.group, right.resource].append(right.verb)
    return [
        {"apiGroups": [group], "resources": [resource], "verbs": sorted(words)}
        for (group, resource), words in sorted(verbs.items())
    ]
