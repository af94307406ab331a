"""Who may do what: bearer tokens become users, and a table of denials refuses them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from khealth_exporter.simulator import errors
from khealth_exporter.simulator.answer import Answer
from khealth_exporter.simulator.documents import Document, decode, encode
from khealth_exporter.simulator.faults import Faults
from khealth_exporter.simulator.request_info import REVIEWS, RequestInfo
from khealth_exporter.simulator.settings import ADMIN_TOKEN, Denial

ADMIN: Final = "simulated-admin"


class Access:
    """Authentication and authorization."""

    def __init__(self, faults: Faults, tokens: tuple[tuple[str, str], ...], denials: tuple[Denial, ...]) -> None:
        """Know these tokens with their users besides the default one, and refuse what is denied."""
        self._faults = faults
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
        if kind.lower() != "bearer" or token.strip() not in self._users:
            raise errors.unauthorized()
        return self._users[token.strip()]

    def check(self, user: str, info: RequestInfo) -> None:
        """Raise `ApiError` (403) where the user may not do this."""
        plural = info.resource.plural + (f"/{info.subresource}" if info.subresource else "")
        if not self._allowed(user, info.verb, plural):
            raise info.refusal(user)

    def review(self, user: str, path: str, body: bytes) -> Answer:
        """Answer a SelfSubjectAccessReview or SelfSubjectRulesReview. Raises `ApiError` (404)."""
        asked: Document = decode(body) if body else {}
        if path == REVIEWS + "selfsubjectaccessreviews":
            wanted = (asked.get("spec") or {}).get("resourceAttributes") or {}
            plural = wanted.get("resource", "") + (f"/{wanted['subresource']}" if wanted.get("subresource") else "")
            status: Document = {"allowed": self._allowed(user, wanted.get("verb", ""), plural)}
        elif path == REVIEWS + "selfsubjectrulesreviews":
            rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
            status = {"resourceRules": rules, "nonResourceRules": [], "incomplete": bool(self._denials)}
        else:
            raise errors.no_such_resource()
        return Answer(HTTPStatus.CREATED, encode({**asked, "metadata": {}, "status": status}))

    def _allowed(self, user: str, verb: str, plural: str) -> bool:
        if user == ADMIN and verb == "create" and self._faults.active("forbidden"):
            return False
        return not any(
            denial.user in {user, "*"} and denial.verb in {verb, "*"} and denial.resource in {plural, "*"}
            for denial in self._denials
        )
