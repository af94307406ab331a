"""Who may do what: bearer tokens become users, RBAC rules service accounts, and a table of denials refuses any."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from khealth_exporter.simulator import errors, rbac, service_accounts
from khealth_exporter.simulator.answer import Answer
from khealth_exporter.simulator.documents import Document, decode, encode
from khealth_exporter.simulator.faults import Faults
from khealth_exporter.simulator.rbac import Attributes
from khealth_exporter.simulator.request_info import REVIEWS, RequestInfo
from khealth_exporter.simulator.settings import ADMIN_TOKEN, Denial
from khealth_exporter.simulator.store import Store

ADMIN: Final = "simulated-admin"


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
        """Know these tokens with their users besides the default one, and refuse what is denied.

        Service accounts, and what they may do, are in the store; `now` is in Unix seconds.
        """
        self._faults, self._store, self._now = faults, store, now
        self._users = {ADMIN_TOKEN: ADMIN, **dict(tokens)}
        self._denials = set(denials)

    def deny(self, denial: Denial) -> None:
        """Refuse this from now on."""
        self._denials.add(denial)

    def allow(self, denial: Denial) -> None:
        """Refuse this no more."""
        self._denials.discard(denial)

    def user(self, headers: Mapping[str, str]) -> str:
        """Return who the request is from. Raises `ApiError` (401).

        A request without a token is the default user's: kubectl sends no token over plain HTTP.
        """
        kind, _, token = headers.get("Authorization", "").partition(" ")
        if not kind:
            return ADMIN
        known = self._users.get(token.strip()) or service_accounts.user_of(self._store, token.strip(), self._now())
        if kind.lower() != "bearer" or known is None:
            raise errors.unauthorized()
        return known

    def check(self, user: str, info: RequestInfo) -> None:
        """Raise `ApiError` (403) where the user may not do this."""
        if not self._allowed(user, info.attributes):
            raise info.refusal(user)

    def review(self, user: str, path: str, body: bytes) -> Answer:
        """Answer a question of who may do what; anybody may ask of anybody. Raises `ApiError` (404)."""
        asked: Document = decode(body) if body else {}
        if path in {REVIEWS + "selfsubjectaccessreviews", REVIEWS + "subjectaccessreviews"}:
            spec: Document = asked.get("spec") or {}
            allowed = self._allowed(str(spec.get("user") or user), _attributes(spec.get("resourceAttributes") or {}))
            status: Document = {"allowed": allowed}
        elif path == REVIEWS + "selfsubjectrulesreviews":
            rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
            status = {"resourceRules": rules, "nonResourceRules": [], "incomplete": bool(self._denials)}
        else:
            raise errors.no_such_resource()
        return Answer(HTTPStatus.CREATED, encode({**asked, "metadata": {}, "status": status}))

    def _allowed(self, user: str, asked: Attributes) -> bool:
        if user == ADMIN and asked.verb == "create" and self._faults.active("forbidden"):
            return False
        if user.startswith(rbac.PREFIX) and not rbac.allows(self._store, user, asked):
            return False
        return not any(
            denial.user in {user, "*"} and denial.verb in {asked.verb, "*"} and denial.resource in {asked.resource, "*"}
            for denial in self._denials
        )


def _attributes(given: Document) -> Attributes:
    plural = given.get("resource", "") + (f"/{given['subresource']}" if given.get("subresource") else "")
    verb, group, namespace, name = (str(given.get(field) or "") for field in ("verb", "group", "namespace", "name"))
    return Attributes(verb, group, plural, namespace, name)
