"""What it means that a controller tells in its own words what the API server has answered to it."""

import re

from khealth_exporter.cluster.errors import clean, judge
from khealth_exporter.vocabulary.reason import Reason

DENIED = re.compile(r'admission webhook "[^"]*" denied the request| denied request: ')
"""What it says if an admission webhook or an admission policy refuses an object."""

# A relayed refusal has lost its code: Go's words of each kind of error tell it. They are those of
# apimachinery/pkg/api/errors/errors.go; the first that fit count.
_CODES = tuple(
    (re.compile(words), code)
    for words, code in (
        (f"^{DENIED.pattern}", 403),
        (r"^Internal error occurred: |failed calling webhook|failed to complete (?:mutation|validation) in ", 500),
        (r"^resource quota evaluation timed out|^conversion webhook for ", 500),
        (r'caused apiserver to panic|\(\\*"Internal Server Error: \\*"/', 500),  # in plain text
        (r'^(?:[^ ]+(?: "[^"]*")? is )?forbidden: |^insufficient quota |^failed quota: |^exceeded quota: ', 403),
        (r'^[^ ]+ "[^"]*" is invalid: ', 422),
        (r"^Unauthorized$", 401),
        (r"^Timeout: ", 504),
        (r"[Tt]oo many requests|apiserver is shutting down, please try again later|storage is \(re\)initializing", 429),
        (r"apiserver is shutting down|^service unavailable", 503),
        (r"^etcdserver: |^rpc error: |could not be completed at this time", 500),
        (r'^[^ ]+ "[^"]*" not found', 404),
        (r'^[^ ]+ "[^"]*" already exists|^Operation cannot be fulfilled on ', 409),
        (r"^Request entity too large: |cannot be handled as a", 400),
    )
)  # fmt: skip

# client-go's words for an answer without a Status, which no API server wrote (NewGenericServerResponse). Those of 429
# are above: the API server's own is plain text. A text that comes with 403 is the answer's own.
_GENERIC = tuple(
    (re.compile(words), code)
    for words, code in (
        (r"rejected our request for an unknown reason|responded with the status code [0-9]+ but did not", 400),
        (r"has asked for the client to provide credentials", 401),
        (r"could not find the requested resource", 404),
        (r"does not allow this method on the requested resource", 405),
        (r"unable to respond with a content type that the client supports", 406),
        (r"the server reported a conflict", 409),
        (r"rejected our request due to an error in our request", 422),
        (r"(?is)^an error on the server \(.*(?:\b502\b|bad gateway)", 502),
        (r"^an error on the server \(", 500),
        (r"currently unable to handle the request", 503),
        (r"unable to return a response in the time allotted", 504),
    )
)

# client-go's words where there was no answer at all.
_NO_ANSWER = re.compile(
    r'^(?:Post|Get|Put|Patch|Delete) "?https?://|^dial tcp |^http2: |^(?:unexpected )?EOF$|^read tcp '
)
_OTHERS_LATE = "error looking up service account"
"""What another controller should have made."""
_LATE = re.compile(r"deadline exceeded|Client\.Timeout|i/o timeout|TLS handshake timeout")
_OWN_LIMIT = re.compile(r"client rate limiter|^rate: Wait\(")
"""The controller manager has more to ask than it permits itself."""


def relayed(message: str) -> tuple[Reason, str]:
    """Return what it means that the API server refuses a controller's objects in these words, and a note.

    It is what it would mean to khealth itself, but for what only concerns the controller: its rights, its own limit of
    requests, and what other controllers of the same controller manager are late with. `unknown` for words that nobody
    knows.
    """
    if _OWN_LIMIT.search(message):
        return Reason.POD_NOT_CREATED, clean(message)
    code = next((code for words, code in _CODES if words.search(message)), 0)
    if code:
        refusal = judge(code, message.encode(), {"Audit-Id": "relayed"})
        reason = refusal.reason
        if reason is Reason.FORBIDDEN or _OTHERS_LATE in message:
            reason = Reason.POD_NOT_CREATED
        elif refusal.missing and message.startswith("namespaces "):
            reason = Reason.INTERRUPTED  # Somebody has deleted it.
        return reason, clean(message, advice=refusal.advice)
    if generic := next((code for words, code in _GENERIC if words.search(message)), 0):
        return judge(generic, b"").reason, clean(message)
    late = Reason.API_TIMEOUT if _LATE.search(message) else None
    silent = Reason.API_UNREACHABLE if _NO_ANSWER.search(message) else None
    return late or silent or Reason.UNKNOWN, clean(message)
