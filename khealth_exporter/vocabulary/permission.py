"""Rights in RBAC's words: needed ones, and denied ones."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """A permission in RBAC's words; an optional one only makes the diagnosis more precise, or is a convenience.

    One that is `outside` serves a khealth that runs outside the cluster, and is not needed in a pod. One with `when` is
    needed only if that setting of the routine is true.
    """

    verb: str
    resource: str
    group: str = ""
    scope: Literal["namespace", "cluster"] = "namespace"
    optional: bool = field(default=False, compare=False)
    outside: bool = field(default=False, compare=False)
    when: str = field(default="", compare=False)
    why: str = field(default="", compare=False)
    name: str = ""

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {resource}" + (f" {self.name}" if self.name else "")


@dataclass(frozen=True, slots=True)
class Denied:
    """A right that khealth lacks: the API server refused a request for want of it, and has not granted one since.

    `namespace` is empty for what belongs to none. Without credentials that hold, it is the right to `authenticate`, of
    no resource. `since` and `last` are when it was refused for the first and for the
    last time, in Unix seconds; `why` is what the right is for, `note` what the API server said. An `optional` one only
    makes the diagnosis less precise.
    """

    verb: str
    resource: str
    namespace: str
    since: float
    last: float
    optional: bool = False
    why: str = ""
    note: str = ""

    def __str__(self) -> str:
        if not self.resource:
            return "the API server does not accept khealth's credentials"
        return f"khealth may not {right(self.verb, self.resource, self.namespace)}"


def right(verb: str, resource: str, namespace: str) -> str:
    """Name a right in RBAC's words; without a namespace it is one of the whole cluster."""
    return f"{verb} {resource} {f'in namespace {namespace}' if namespace else 'at the cluster scope'}"
