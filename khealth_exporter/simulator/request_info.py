"""The verb, resource and name of a request, from its method, path and query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator import errors, scales
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.rbac import Attributes
from khealth_exporter.simulator.resources import PODS, SERVICE_ACCOUNTS, Resource, find

_METHODS: Final[Mapping[str, tuple[str, str]]] = {
    "GET": ("get", "list"),
    "HEAD": ("get", "list"),
    "POST": ("create", "create"),
    "PUT": ("update", "update"),
    "PATCH": ("patch", "patch"),
    "DELETE": ("delete", "deletecollection"),
}
"""The verb if the path has a name, and if it has none."""

REVIEWS: Final = "/apis/authorization.k8s.io/v1/"
"""The prefix of access reviews, which are not stored."""

_SPECIAL: Final[Mapping[Resource, frozenset[str]]] = {
    PODS: frozenset({"eviction", "binding", "proxy", "log"}),
    SERVICE_ACCOUNTS: frozenset({"token"}),
    **dict.fromkeys(scales.SCALED, frozenset({"scale"})),
}
_CORE_PREFIX: Final = 2
_GROUP_PREFIX: Final = 3


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One request for a resource."""

    verb: str
    """As the audit log names it."""
    resource: Resource
    namespace: str
    name: str
    subresource: str
    query: Mapping[str, str]
    rest: str = ""
    """The path after the subresource, with its first slash."""

    @property
    def key(self) -> tuple[str, str]:
        """The object's key in the store."""
        return (self.namespace if self.resource.namespaced else ""), self.name

    @property
    def is_write(self) -> bool:
        """Tell whether the request can change something."""
        return self.verb not in {"get", "list", "watch"}

    @property
    def attributes(self) -> Attributes:
        """The attributes for the authorizer."""
        plural = self.resource.plural + (f"/{self.subresource}" if self.subresource else "")
        return Attributes(self.verb, self.resource.group, plural, self.namespace, self.name)

    def flag(self, name: str) -> bool:
        """Return a boolean query parameter."""
        return self.query.get(name, "") in {"1", "true", "True"}

    def refusal(self, user: str) -> ApiError:
        """Return the 403 for a user without permission."""
        plural = self.attributes.resource
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        why = f'User "{user}" cannot {self.verb} resource "{plural}" in API group "{self.resource.group}" {where}'
        return errors.forbidden(self.resource, self.name, why)


def parse(method: str, path: str, query: Mapping[str, str]) -> RequestInfo | None:
    """Return the parsed request, or None for a path outside the resources. Raises `ApiError` (404, 405)."""
    parts = path.strip("/").split("/")
    if path.startswith(REVIEWS):
        return None
    if parts[0] == "api" and len(parts) > _CORE_PREFIX:
        group, version, rest = "", parts[1], parts[_CORE_PREFIX:]
    elif parts[0] == "apis" and len(parts) > _GROUP_PREFIX:
        group, version, rest = parts[1], parts[2], parts[_GROUP_PREFIX:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and find(group, version, rest[2]) is not None:  # noqa: PLR2004  # namespaces/NAME/RESOURCE
            rest = rest[2:]
    resource = find(group, version, rest[0])
    name, subresource = (*rest[1:], "", "")[:2]
    if resource is None or not _serves(resource, subresource) or (resource.namespaced and rest[0] == "namespaces"):
        raise errors.no_such_resource()
    if method not in _METHODS or (method == "POST" and name and not subresource) or (method == "PUT" and not name):
        raise errors.method_not_allowed()
    verb = _METHODS[method][0 if name else 1]
    if verb == "list" and query.get("watch", "") in {"1", "true", "True"}:
        verb = "watch"
    after = "/".join(["", *rest[3:]])
    if subresource and path.endswith("/"):
        after += "/"
    return RequestInfo(verb, resource, namespace, name, subresource, query, after)


def _serves(resource: Resource, subresource: str) -> bool:
    if subresource == "status":
        return resource.has_status
    return not subresource or subresource in _SPECIAL.get(resource, ())
