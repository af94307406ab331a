"""What an answer means: the only table from code, `Status` and message to a Reason.

Failed
└── Refused     the API server said no, or said nothing
"""

import errno
import re
import ssl
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from khealth_exporter.cluster.redaction import redacted
from khealth_exporter.cluster.status import TEXT, Status, plain, read_status, seconds, strange
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

_NOTE = 400
"""Characters of a note: enough for the name of a webhook or a quota, too few to flood a log."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer that was not what was asked for, or none at all.

    `code` is the HTTP status that the API server gave, 0 where it gave none; `status_reason` is the `reason` of the
    `Status` and `causes` the types of its causes. `retry`: the same request may well succeed later. `retry_after`: not
    before so many seconds. `renew`: the credentials should be read again first. `late`: nothing came in time. `advice`:
    what to do about it, which ends the note too.
    """

    reason: Reason
    note: str
    code: int = 0
    status_reason: str = ""
    causes: tuple[str, ...] = ()
    retry: bool = False
    retry_after: float | None = None
    renew: bool = False
    late: bool = False
    advice: str = ""

    @property
    def undecided(self) -> bool:
        """Whether a write may have been done anyway: the API server itself did not answer."""
        broken = self.code >= HTTPStatus.INTERNAL_SERVER_ERROR and self.reason is Reason.API_ERROR
        lost = self.reason is Reason.PROXY_ERROR and self.retry
        return broken or lost or self.reason in {Reason.API_TIMEOUT, Reason.API_UNREACHABLE}

    @property
    def unauthenticated(self) -> bool:
        """Whether khealth has no credentials that the API server accepts (401, or there are none to send)."""
        return self.reason is Reason.FORBIDDEN and not self.denied

    @property
    def denied(self) -> bool:
        """Whether khealth lacks the permission for this request: refused by authorization, not by admission (403)."""
        return self.code == HTTPStatus.FORBIDDEN and self.reason is Reason.FORBIDDEN

    @property
    def authenticated(self) -> bool:
        """Whether the API server accepts the credentials: it has checked the permission."""
        return self.denied or self.permitted

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
        return self.code == HTTPStatus.CONFLICT and not self.exists and self.reason is Reason.API_REJECTED

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
class _Row:
    """A line of the table: what is set must all hold of an answer."""

    means: Reason
    code: int | range
    cause: str = ""
    says: str = ""
    foreign: bool = False
    """Whether it is for answers that no API server wrote."""
    retry: bool = False
    renew: bool = False
    advice: str = ""
    """What to do about it, at the end of the note."""

    def fits(self, code: int, status: Status) -> bool:
        """Tell whether this is the line for such an answer."""
        return (
            (code in self.code if isinstance(self.code, range) else code == self.code)
            and (not self.foreign or not status.genuine)
            and (not self.cause or self.cause in status.causes)
            and (not self.says or re.search(self.says, status.message) is not None)
        )


class ProxyRefusedError(OSError):
    """A proxy has answered CONNECT with this HTTP status, and so leads nowhere."""

    def __init__(self, code: int) -> None:
        super().__init__(f"HTTP {code} to CONNECT")
        self.code = code


_ANY = range(1000)
_REDIRECTS = range(300, 400)
_CLIENT_ERRORS = range(400, 500)
_SERVER_ERRORS = range(500, sys.maxsize)  # and what content delivery networks have invented
_GATEWAY = (
    r"(?i)^\s*$|bad gateway|unavailable|gateway time-?out|request timeout|server error|\b50[234]\b"
    r"|\bno (?:\w+ )*(?:backend|endpoint|server|upstream)|upstream|ring-balancer|unhealthy|not available"
)
"""What a load balancer says instead of an API server that is away, or nothing; a page for people says more."""
_PLUGIN = r'^(?:(?:[^ ]+(?: "[^"]*")? is )?forbidden: )?'
"""How the words of an admission plug-in begin: some errors of theirs come without the object's name."""
_POLICY = (
    r"(?:ValidatingAdmissionPolicy|MutatingAdmissionPolicy|policy) '[^']*'(?: with binding '[^']*')? denied request"
)

# The first line that fits counts. The messages are those of Kubernetes 1.37, whose source says where each is made.
_TABLE = (
    _Row(Reason.API_REJECTED, _ANY, says=r'^admission webhook "[^"]*" denied the request'),  # under any code it likes
    _Row(Reason.API_REJECTED, _ANY, says=_PLUGIN + _POLICY),  # under the code that its author likes
    _Row(Reason.DRY_RUN_UNSUPPORTED, 400, says=r'^admission webhook "[^"]*" does not support dry run'),
    _Row(Reason.PROXY_ERROR, 407, renew=True),
    _Row(Reason.PROXY_ERROR, 401, foreign=True, renew=True),
    _Row(Reason.FORBIDDEN, 401, renew=True),
    _Row(Reason.INTERRUPTED, 403, cause="NamespaceTerminating"),
    _Row(Reason.INTERRUPTED, 403, says=r"in namespace [^ ]+ because it is being terminated$"),
    # Authorization's own words: an admission policy may say whatever its author likes, but not at this place.
    _Row(Reason.FORBIDDEN, 403, says=r'^([^ ]+( "[^"]*")? is )?forbidden: User "[^"]*" cannot '),
    _Row(
        Reason.QUOTA_EXCEEDED, _ANY, says=_PLUGIN + r"failed quota: ",
        advice="set pod.resources, or add a LimitRange with defaults",
    ),
    _Row(Reason.QUOTA_EXCEEDED, _ANY, says=_PLUGIN + r"(?:exceeded quota|insufficient quota|status unknown for quota)"),
    _Row(Reason.QUOTA_EXCEEDED, 409, says=r"^Operation cannot be fulfilled on resourcequotas ", retry=True),
    _Row(Reason.WATCH_INTERRUPTED, 410),
    _Row(Reason.THROTTLED, 429, cause="DisruptionBudget"),  # an eviction: no wait of ours would help
    _Row(Reason.API_ERROR, 429, says=r"apiserver is shutting down", retry=True),
    _Row(Reason.API_ERROR, 429, says=r"storage is \(re\)initializing", retry=True),
    _Row(Reason.API_ERROR, 429, says=r"Too large resource version", retry=True),
    _Row(Reason.THROTTLED, 429, says=r"^Too many requests, please try again later\.", retry=True),
    _Row(Reason.PROXY_ERROR, 429, foreign=True),
    _Row(Reason.THROTTLED, 429, retry=True),  # priority and fairness, or too many in flight
    _Row(Reason.PROXY_ERROR, _REDIRECTS, foreign=True),  # to a page for people to log in
    _Row(Reason.PROXY_ERROR, _CLIENT_ERRORS, foreign=True),
    _Row(Reason.API_REJECTED, _CLIENT_ERRORS),  # Pod Security, LimitRange, priority classes, admission policies
    _Row(Reason.WEBHOOK_FAILED, 500, says=r"failed calling webhook|admission webhook \"[^\"]*\" attempted to modify"),
    _Row(Reason.WEBHOOK_FAILED, 500, says=r'plugin "[^"]*AdmissionWebhook" failed to complete (?:mutation|validation)'),
    _Row(Reason.WEBHOOK_FAILED, 500, says=r"^(?:Internal error occurred: )?conversion webhook for "),
    _Row(Reason.WEBHOOK_FAILED, 500, says=r"jsonpatch [a-z]+ operation does not apply"),  # khealth sends no such patch
    _Row(Reason.API_UNREACHABLE, 502, foreign=True, says=_GATEWAY, retry=True),
    _Row(Reason.API_UNREACHABLE, 503, foreign=True, says=_GATEWAY, retry=True),
    _Row(Reason.API_TIMEOUT, 504, foreign=True, says=_GATEWAY, retry=True),
    _Row(Reason.PROXY_ERROR, _SERVER_ERRORS, foreign=True),
    _Row(Reason.API_UNREACHABLE, 502, retry=True),
    _Row(Reason.API_ERROR, 503, retry=True),
    _Row(Reason.API_ERROR, 504, cause="ResourceVersionTooLarge", retry=True),
    _Row(Reason.API_TIMEOUT, 504, retry=True),
    _Row(Reason.API_ERROR, _ANY),
)  # fmt: skip

_AUDIT = "Audit-Id"
"""The header that the API server sets in every answer."""
_PROXY_AUTH = HTTPStatus.PROXY_AUTHENTICATION_REQUIRED

_OUR_OWN_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}


def judge(  # noqa: PLR0913 - what was answered, who may have written it, and what must not be repeated
    code: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    proxy: str = "",
    mute: bool = False,
    secrets: Iterable[str] = (),
) -> Refusal:
    """Say what an answer means whose code is not what was hoped for.

    Never raises, whatever the body: a `Status`, a proxy's page, half of either, nothing. An ERROR line of a watch,
    which comes under 200, is judged by the code inside it. `proxy` is the one that the answer may be from; with
    `mute` the note has no word of its page. It holds none of the `secrets`.
    """
    status, named = read_status(body), headers or {}
    in_watch = code == HTTPStatus.OK
    code = status.code if in_watch else code
    genuine = status.genuine or in_watch or _AUDIT in named
    row = next((row for row in _TABLE if row.fits(code, replace(status, genuine=genuine))), _TABLE[-1])
    said = f"HTTP {code}: {status.message or status.reason or 'without a word'}"
    if row.means is Reason.PROXY_ERROR or (proxy and not genuine):
        retry = code >= HTTPStatus.INTERNAL_SERVER_ERROR
        if mute or code == _PROXY_AUTH:
            said = f"HTTP {code}: {_phrase(code)}"
        return Refusal(Reason.PROXY_ERROR, _foreign(said, proxy, secrets), retry=retry, renew=row.renew)
    told = seconds(named.get("Retry-After"))
    return Refusal(
        reason=row.means,
        note=clean(said, secrets, row.advice),
        code=code,
        status_reason=status.reason,
        causes=status.causes,
        retry=row.retry,
        retry_after=status.retry_after if told is None else told,
        renew=row.renew,
        advice=row.advice,
    )


def no_answer(error: BaseException, *, proxy: str = "", secrets: Iterable[str] = ()) -> Refusal:
    """Return the refusal for a missing or partial answer; `proxy` is the one that is to blame for it."""
    if getattr(error, "errno", None) in _OUR_OWN_LIMITS:
        return Refusal(Reason.PROBER_STARVED, clean(f"khealth's own machine: {error}"), retry=True)
    late = isinstance(error, TimeoutError)
    # The HTTP client's own words name Python objects; those of the system, or of OpenSSL, are its cause.
    words = f"no answer in time {error}" if late else str(error.__cause__ or error) or type(error).__name__
    # An authority that was replaced while khealth runs is on the disk already: reading it again helps.
    renew = isinstance(error, ssl.SSLCertVerificationError)
    if proxy:
        code = error.code if isinstance(error, ProxyRefusedError) else 0
        note = clean(f"proxy {proxy}: {words}", secrets)
        return Refusal(Reason.PROXY_ERROR, note, retry=code not in _CLIENT_ERRORS, renew=code == _PROXY_AUTH, late=late)
    reason = Reason.API_TIMEOUT if late else Reason.API_UNREACHABLE
    return Refusal(reason, clean(words, secrets), retry=True, renew=renew, late=late)


def undecodable(what: str, body: bytes, error: str) -> Failed:
    """Return what it means that an answer was expected to be JSON of Kubernetes, and is not.

    Whatever is no object of Kubernetes is none of the API server's: an access proxy asks for a login, under 200.
    """
    if strange(body):
        note = _foreign(f"HTTP 200: {plain(body)}")
        return Refused(Refusal(Reason.PROXY_ERROR, note), f"cannot decode {what}")
    return Failed(Reason.API_ERROR, clean(f"cannot decode {what}: {error}"))


def _phrase(code: int) -> str:
    """Return what HTTP itself calls a code."""
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "without a word"


def _foreign(said: str, proxy: str = "", secrets: Iterable[str] = ()) -> str:
    """Return the note of an answer that is not the API server's."""
    return clean(f"{f'proxy {proxy}' if proxy else 'something between khealth and the API server'}: {said}", secrets)


def no_credentials(error: BaseException) -> Refusal:
    """Return the refusal for missing credentials: khealth cannot ask, so nothing is known about the cluster."""
    return Refusal(
        Reason.FORBIDDEN, clean(str(error) or "no credentials in time"), late=isinstance(error, TimeoutError)
    )


def clean(text: str, secrets: Iterable[str] = (), advice: str = "") -> str:
    """Return text of a stranger as one short line that is safe to log and to show, with our advice at its end."""
    line = redacted(" ".join("".join(c if c.isprintable() else " " for c in text[:TEXT]).split()), secrets)
    end = f": {advice}" if advice else ""
    most = _NOTE - len(end)
    return (line if len(line) <= most else line[: most - 1] + "…") + end
