"""RBAC: what the Roles that are bound to a service account let it do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from khealth_exporter.simulator.store import Store

PREFIX: Final = "system:serviceaccount:"
"""What the user name of every service account begins with."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked of the authorizer."""

    verb: str
    group: str
    resource: str
    """The plural, with `/subresource` where one is meant."""
    namespace: str
    name: str = ""


def allows(store: Store, user: str, asked: Attributes) -> bool:
    """Tell whether any rule that is bound to the service account lets it do this."""
    return any(_covers(rule, asked) for rule in _rules(store, user, asked.namespace))


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


def _is(subject: Document, user: str) -> bool:
    named = f"{PREFIX}{subject.get('namespace')}:{subject.get('name')}"
    return user == (named if subject.get("kind") == "ServiceAccount" else subject.get("name"))


def _covers(rule: Document, asked: Attributes) -> bool:
    wanted = (("verbs", asked.verb), ("apiGroups", asked.group), ("resources", asked.resource))
    names = rule.get("resourceNames")
    return all({word, "*"} & set(rule.get(field) or ()) for field, word in wanted) and (
        not names or asked.name in names
    )
