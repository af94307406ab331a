"""Authentication by bearer token; authorization by RBAC for service accounts, and by denials for every user."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from khealth_exporter.simulator import errors, rbac, service_accounts
from khealth_exporter.simulator.answer import Answer
from khealth_exporter.simulator.documents import Document, decode, encode
from khealth_exporter.simulator.faults import Faults
from khealth_exporter.simulator.rbac import Attributes
from khealth_exporter.simulator.request_info import REVIEWS, RequestInfo
from khealth_exporter.simulator.resources import Resource
from khealth_exporter.simulator.settings import ADMIN_TOKEN, Denial
from khealth_exporter.simulator.store import Store

ADMIN: Final = "simulated-admin"

_REVIEW_GROUP: Final = "authorization.k8s.io"


class Access:
    """Authentication and authorization."""

    def __init__(
        self,
        faults: Faults,
        store: Store,
        now: Callable[[], float],
        tokens: tuple[tuple[str, str], ...],
        denials: tuple[Denial, ...],
    ) -> None:
        """Accept the default token, `tokens` and those of service accounts; refuse what `denials` list.

        The store holds the service accounts and their permissions; `now` returns Unix seconds.
        """
        self._faults, self._store, self._now = faults, store, now
        self._users = {ADMIN_TOKEN: ADMIN, **dict(tokens)}
        self._denials = set(denials)

    def deny(self, denial: Denial) -> None:
        """Add a denial."""
        self._denials.add(denial)

    def allow(self, denial: Denial) -> None:
        """Remove a denial."""
        self._denials.discard(denial)

    def user(self, headers: Mapping[str, str], *, secure: bool) -> str:
        """Return who the request is from. Raises `ApiError` (401).

        A request without a token is the default user's over plain HTTP, where kubectl sends none; over TLS it is
        anonymous.
        """
        kind, _, token = headers.get("Authorization", "").partition(" ")
        if not kind:
            return rbac.ANONYMOUS if secure else ADMIN
        known = self._users.get(token.strip()) or service_accounts.user_of(self._store, token.strip(), self._now())
        if kind.lower() != "bearer" or known is None:
            raise errors.unauthorized()
        return known

    def check(self, user: str, info: RequestInfo) -> None:
        """Raise `ApiError` (403) if the user may not do this."""
        if not self._allowed(user, info.attributes):
            raise info.refusal(user)

    def check_path(self, user: str, method: str, path: str) -> None:
        """Raise `ApiError` (403) if the user may not use a path outside the resources."""
        verb = method.lower()
        if not self._allowed_path(user, verb, path):
            raise errors.path_forbidden(user, verb, path)

    def review(self, user: str, path: str, body: bytes) -> Answer:
        """Answer an access review; every authenticated user may ask about every user. Raises `ApiError` (403, 404)."""
        if user == rbac.ANONYMOUS:
            raise _review_refused(user, path.removeprefix(REVIEWS))
        asked: Document = decode(body) if body else {}
        if path in {REVIEWS + "selfsubjectaccessreviews", REVIEWS + "subjectaccessreviews"}:
            spec: Document = asked.get("spec") or {}
            status: Document = {"allowed": self._reviewed(str(spec.get("user") or user), spec)}
        elif path == REVIEWS + "selfsubjectrulesreviews":
            rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
            status = {"resourceRules": rules, "nonResourceRules": [], "incomplete": bool(self._denials)}
        else:
            raise errors.no_such_resource()
        return Answer(HTTPStatus.CREATED, encode({**asked, "metadata": {}, "status": status}))

    def _reviewed(self, user: str, spec: Document) -> bool:
        if path := spec.get("nonResourceAttributes"):
            return self._allowed_path(user, str(path.get("verb")), str(path.get("path")))
        return self._allowed(user, _attributes(spec.get("resourceAttributes") or {}))

    def _allowed_path(self, user: str, verb: str, path: str) -> bool:
        if _by_rules(user) and not rbac.allows_path(self._store, user, verb, path):
            return False
        return not any(
            denial.user in {user, "*"} and denial.verb in {verb, "*"} and denial.resource == path
            for denial in self._denials
        )

    def _allowed(self, user: str, asked: Attributes) -> bool:
        if user == ADMIN and asked.verb == "create" and self._faults.active("forbidden"):
            return False
        if _by_rules(user) and not rbac.allows(self._store, user, asked):
            return False
        return not any(
            denial.user in {user, "*"} and denial.verb in {asked.verb, "*"} and denial.resource in {asked.resource, "*"}
            for denial in self._denials
        )


def _review_refused(user: str, plural: str) -> errors.ApiError:
    why = f'User "{user}" cannot create resource "{plural}" in API group "{_REVIEW_GROUP}" at the cluster scope'
    return errors.forbidden(Resource(_REVIEW_GROUP, "v1", plural, "", namespaced=False), "", why)


def _by_rules(user: str) -> bool:
    """Tell whether the user has only the permissions that RBAC gives; named users have every right."""
    return user.startswith(rbac.PREFIX) or user == rbac.ANONYMOUS


def _attributes(given: Document) -> Attributes:
    plural = given.get("resource", "") + (f"/{given['subresource']}" if given.get("subresource") else "")
    verb, group, namespace, name = (str(given.get(field) or "") for field in ("verb", "group", "namespace", "name"))
    return Attributes(verb, group, plural, namespace, name)
