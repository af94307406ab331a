"""RBAC: what the Roles bound to a service account, or to the anonymous user, allow."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from khealth_exporter.simulator.store import Store

PREFIX: Final = "system:serviceaccount:"
"""The prefix of the user names of service accounts."""

ANONYMOUS: Final = "system:anonymous"
"""The user of a request without credentials."""

_PUBLIC: Final = ("/healthz", "/livez", "/readyz", "/version", "/version/")
"""What ClusterRole system:public-info-viewer lets everyone get."""
_DISCOVERY: Final = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*")
"""What ClusterRole system:discovery adds for authenticated users."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of a request that the authorizer checks."""

    verb: str
    group: str
    resource: str
    """The plural, with `/subresource` if one is meant."""
    namespace: str
    name: str = ""


def allows(store: Store, user: str, asked: Attributes) -> bool:
    """Tell whether any rule that is bound to the user allows this."""
    return any(_covers(rule, asked) for rule in _rules(store, user, asked.namespace))


def allows_path(store: Store, user: str, verb: str, path: str) -> bool:
    """Tell whether the user may use a path outside the resources, by the default ClusterRoles or those in the store."""
    patterns = _PUBLIC if user == ANONYMOUS else (*_PUBLIC, *_DISCOVERY)
    if verb == "get" and any(_covers_path(pattern, path) for pattern in patterns):
        return True
    return any(
        {verb, "*"} & set(rule.get("verbs") or ())
        and any(_covers_path(pattern, path) for pattern in rule.get("nonResourceURLs") or ())
        for rule in _rules(store, user, "")
    )


def _rules(store: Store, user: str, namespace: str) -> Iterator[Document]:
    everywhere = [(binding, "") for binding in store.all(CLUSTER_ROLE_BINDINGS)]
    here = [(binding, namespace) for binding in store.all(ROLE_BINDINGS, namespace)] if namespace else []
    for binding, where in (*everywhere, *here):
        if not any(_is(subject, user) for subject in binding.get("subjects") or []):
            continue
        reference = binding.get("roleRef") or {}
        cluster = reference.get("kind") == "ClusterRole"
        role = store.get(CLUSTER_ROLES if cluster else ROLES, ("" if cluster else where, str(reference.get("name"))))
        yield from (role or {}).get("rules") or []


def _covers_path(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _groups(user: str) -> set[str]:
    if user == ANONYMOUS:
        return {"system:unauthenticated"}
    namespace = user.removeprefix(PREFIX).partition(":")[0]
    return {"system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{namespace}"}


def _is(subject: Document, user: str) -> bool:
    if subject.get("kind") == "Group":
        return subject.get("name") in _groups(user)
    named = f"{PREFIX}{subject.get('namespace')}:{subject.get('name')}"
    return user == (named if subject.get("kind") == "ServiceAccount" else subject.get("name"))


def _covers(rule: Document, asked: Attributes) -> bool:
    wanted = (("verbs", asked.verb), ("apiGroups", asked.group), ("resources", asked.resource))
    names = rule.get("resourceNames")
    return all({word, "*"} & set(rule.get(field) or ()) for field, word in wanted) and (
        not names or asked.name in names
    )
