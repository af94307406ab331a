"""What an answer means: the only table from code, `Status` and message to a Reason.

Failed
└── Refused     the API server said no, or said nothing
"""

import errno
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

_NOTE = 200
"""Characters of a note: enough for the name of a webhook or a quota, too few to flood a log."""

_TEXT = 4096
"""Bytes of an answer that is no `Status` which are read for its text."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer that was not what was asked for, or none at all.

    `code` is the HTTP status, 0 where no answer came; `status_reason` is the `reason` of the `Status` and `causes` the
    types of its causes. `retry`: the same request may well succeed later. `retry_after`: not before so many seconds.
    `renew`: the credentials should be read again first.
    """

    reason: Reason
    note: str
    code: int = 0
    status_reason: str = ""
    causes: tuple[str, ...] = ()
    retry: bool = False
    retry_after: float | None = None
    renew: bool = False

    @property
    def undecided(self) -> bool:
        """Whether a write may have been done anyway: the API server itself did not answer."""
        broken = self.code >= HTTPStatus.INTERNAL_SERVER_ERROR and self.reason is not Reason.WEBHOOK_FAILED
        return broken or self.reason in {Reason.API_TIMEOUT, Reason.API_UNREACHABLE}

    @property
    def denied(self) -> bool:
        """Whether khealth lacks the permission for this request: refused by authorization, not by admission (403)."""
        return self.code == HTTPStatus.FORBIDDEN and self.reason is Reason.FORBIDDEN

    @property
    def permitted(self) -> bool:
        """Whether authorization let the request pass, even if something else refused it."""
        never_got_there = self.code in {0, HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
        return not (self.denied or never_got_there or self.code >= HTTPStatus.INTERNAL_SERVER_ERROR)

    @property
    def missing(self) -> bool:
        """Whether there is no such object (404)."""
        return self.code == HTTPStatus.NOT_FOUND

    @property
    def exists(self) -> bool:
        """Whether an object of that name is there already (409 AlreadyExists)."""
        return self.code == HTTPStatus.CONFLICT and self.status_reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """Whether the object is not, or is no longer, the one that was meant: its uid or version differs (409)."""
        return self.code == HTTPStatus.CONFLICT and not self.exists

    @property
    def expired(self) -> bool:
        """Whether the resourceVersion is too old to continue from (410)."""
        return self.code == HTTPStatus.GONE


class Refused(Failed):
    """A request has failed; `refusal` says how its last try ended.

    `tries` is how often it was tried; `unanswered` tells that at least one try got no answer from the API server, so
    that a write may have been done although it is reported as failed.
    """

    def __init__(self, refusal: Refusal, request: str, *, tries: int = 1, unanswered: bool = False) -> None:
        super().__init__(refusal.reason, f"{request}: {refusal.note}")
        self.refusal = refusal
        self.tries = tries
        self.unanswered = unanswered or refusal.undecided


@dataclass(frozen=True, slots=True)
class Status:
    """What of a `Status` object is read; the empty value stands for whatever is missing or absurd."""

    code: int = 0
    reason: str = ""
    message: str = ""
    causes: tuple[str, ...] = ()
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the table: what is set must all hold of an answer."""

    means: Reason
    code: int | range
    cause: str = ""
    says: str = ""
    retry: bool = False
    renew: bool = False

    def fits(self, code: int, status: Status) -> bool:
        """Tell whether this is the line for such an answer."""
        return (
            (code in self.code if isinstance(self.code, range) else code == self.code)
            and (not self.cause or self.cause in status.causes)
            and (not self.says or re.search(self.says, status.message) is not None)
        )


_ANY = range(1000)
_CLIENT_ERRORS = range(400, 500)

# The first line that fits counts. The messages are those of Kubernetes 1.37, whose source says where each is made.
_TABLE = (
    _Row(Reason.API_REJECTED, _ANY, says=r'^admission webhook "[^"]*" denied the request'),  # under any code it likes
    _Row(Reason.FORBIDDEN, 401, renew=True),
    _Row(Reason.INTERRUPTED, 403, cause="NamespaceTerminating"),
    # Authorization's own words: an admission policy may say whatever its author likes, but not at this place.
    _Row(Reason.FORBIDDEN, 403, says=r'^([^ ]+( "[^"]*")? is )?forbidden: User "[^"]*" cannot '),
    _Row(Reason.QUOTA_EXCEEDED, 403, says=r"exceeded quota"),
    _Row(Reason.API_REJECTED, 403),  # Pod Security, LimitRange, priority classes, admission policies
    _Row(Reason.WATCH_INTERRUPTED, 410),
    _Row(Reason.THROTTLED, 429, cause="DisruptionBudget"),  # an eviction: no wait of ours would help
    _Row(Reason.API_ERROR, 429, says=r"apiserver is shutting down", retry=True),
    _Row(Reason.API_ERROR, 429, says=r"storage is \(re\)initializing", retry=True),
    _Row(Reason.API_ERROR, 429, says=r"Too large resource version", retry=True),
    _Row(Reason.THROTTLED, 429, retry=True),  # priority and fairness, or too many in flight
    _Row(Reason.API_REJECTED, _CLIENT_ERRORS),
    _Row(Reason.WEBHOOK_FAILED, 500, says=r"failed calling webhook"),
    _Row(Reason.API_UNREACHABLE, 502, retry=True),  # a proxy's word for no answer
    _Row(Reason.API_ERROR, 503, retry=True),
    _Row(Reason.API_ERROR, 504, cause="ResourceVersionTooLarge", retry=True),
    _Row(Reason.API_TIMEOUT, 504, retry=True),
    _Row(Reason.API_ERROR, _ANY),
)

_OUR_OWN_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}


def judge(code: int, body: bytes, headers: Mapping[str, str] | None = None) -> Refusal:
    """Say what an answer means whose code is not what was hoped for.

    Never raises, whatever the body: a `Status`, a proxy's page, half of either, nothing. An ERROR line of a watch,
    which comes under 200, is judged by the code inside it.
    """
    status = read_status(body)
    code = status.code if code == HTTPStatus.OK else code
    row = next((row for row in _TABLE if row.fits(code, status)), _TABLE[-1])
    told = _seconds((headers or {}).get("Retry-After"))
    return Refusal(
        reason=row.means,
        note=clean(f"HTTP {code}: {status.message or status.reason or 'without a word'}"),
        code=code,
        status_reason=status.reason,
        causes=status.causes,
        retry=row.retry,
        retry_after=status.retry_after if told is None else told,
        renew=row.renew,
    )


def no_answer(error: BaseException) -> Refusal:
    """Return the refusal for a missing or partial answer."""
    if getattr(error, "errno", None) in _OUR_OWN_LIMITS:
        return Refusal(Reason.PROBER_STARVED, clean(f"khealth's own machine: {error}"), retry=True)
    if isinstance(error, TimeoutError):
        return Refusal(Reason.API_TIMEOUT, clean(f"no answer in time {error}"), retry=True)
    # An authority that was replaced while khealth runs is on the disk already: reading it again helps.
    renew = isinstance(error, ssl.SSLCertVerificationError)
    # The HTTP client's own words name Python objects; those of the system, or of OpenSSL, are its cause.
    words = str(error.__cause__ or error) or type(error).__name__
    return Refusal(Reason.API_UNREACHABLE, clean(words), retry=True, renew=renew)


def no_credentials(error: BaseException) -> Refusal:
    """Return the refusal for missing credentials: khealth cannot ask, so nothing is known about the cluster."""
    return Refusal(Reason.FORBIDDEN, clean(str(error) or "no credentials in time"))


def read_status(body: bytes) -> Status:
    """Read a `Status` object; anything else becomes its message. Never raises."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Status(message=_plain(body))
    if not isinstance(told, dict):
        return Status(message=_plain(body))
    details = _dict(told.get("details"))
    causes = details.get("causes")
    code = told.get("code")
    return Status(
        code=code if isinstance(code, int) else 0,
        reason=_text(told.get("reason")),
        message=_text(told.get("message")),
        # The API's documentation calls it `reason`; Go's name for the same field is Type.
        causes=tuple(_text(_dict(cause).get("reason")) for cause in causes) if isinstance(causes, list) else (),
        retry_after=_seconds(details.get("retryAfterSeconds")),
    )


def clean(text: str) -> str:
    """Return text of a stranger as one short line that is safe to log and to show."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:_TEXT]).split())
    return line if len(line) <= _NOTE else line[: _NOTE - 1] + "…"


def _plain(body: bytes) -> str:
    """Return the words of a body that is no JSON object: a proxy's page without its tags, or half a `Status`."""
    text = body[:_TEXT].decode(errors="replace")
    return re.sub(r"<[^<>]*>", " ", text).replace('\\"', '"')


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: object) -> float | None:
    """Return a number of whole seconds above 0, the only form that the API server gives; None for anything else."""
    text = str(value) if isinstance(value, int | str) else ""
    return float(text) if re.fullmatch(r"[1-9][0-9]{0,8}", text) else None
