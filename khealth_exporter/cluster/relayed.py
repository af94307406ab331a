"""What it means that a controller tells in its own words what the API server has answered to it."""

import re

from khealth_exporter.cluster.errors import clean, judge
from khealth_exporter.vocabulary.reason import Reason

# A relayed refusal has lost its code: Go's words of each kind of error tell it. They are those of
# apimachinery/pkg/api/errors/errors.go; the first that fit count.
_CODES = tuple(
    (re.compile(words), code)
    for words, code in (
        (r'^admission webhook "[^"]*" denied the request| denied request: ', 403),
        (r"^Internal error occurred: |failed calling webhook|failed to complete (?:mutation|validation) in ", 500),
        (r"^resource quota evaluation timed out|caused apiserver to panic", 500),
        (r'^(?:[^ ]+(?: "[^"]*")? is )?forbidden: |^insufficient quota |^failed quota: |^exceeded quota: ', 403),
        (r'^[^ ]+ "[^"]*" is invalid: |rejected our request due to an error in our request', 422),
        (r"^Unauthorized$|has asked for the client to provide credentials", 401),
        (r"^Timeout: |unable to return a response in the time allotted", 504),
        (r"[Tt]oo many requests|apiserver is shutting down, please try again later|storage is \(re\)initializing", 429),
        (r"currently unable to handle the request|apiserver is shutting down|^service unavailable", 503),
        (r"^etcdserver: |^rpc error: |could not be completed at this time|^an error on the server ", 500),
        (r'^[^ ]+ "[^"]*" not found|could not find the requested resource', 404),
        (r'^[^ ]+ "[^"]*" already exists|^Operation cannot be fulfilled on |reported a conflict', 409),
        (r"rejected our request|does not allow this method|^Request entity too large: |cannot be handled as a", 400),
    )
)  # fmt: skip

# client-go's words where there was no answer at all.
_NO_ANSWER = re.compile(
    r'^(?:Post|Get|Put|Patch|Delete) "?https?://|^dial tcp |^http2: |^(?:unexpected )?EOF$|^read tcp '
)
_OTHERS_LATE = "error looking up service account"
"""What another controller should have made."""
_LATE = re.compile(r"deadline exceeded|Client\.Timeout|i/o timeout|TLS handshake timeout|client rate limiter")


def relayed(message: str) -> tuple[Reason, str]:
    """Return what it means that the API server refuses a controller's objects in these words, and a note.

    It is what it would mean to khealth itself, but for what only concerns the controller: its rights, and what other
    controllers of the same controller manager are late with. `unknown` for words that nobody knows.
    """
    code = next((code for words, code in _CODES if words.search(message)), 0)
    if code:
        # No page of a proxy comes this way: client-go has words of its own for those.
        refusal = judge(code, message.encode(), {"Audit-Id": "relayed"})
        reason = refusal.reason
        if reason is Reason.FORBIDDEN or _OTHERS_LATE in message:
            reason = Reason.POD_NOT_CREATED
        elif refusal.missing and message.startswith("namespaces "):
            reason = Reason.INTERRUPTED  # Somebody has deleted it.
        return reason, clean(message, advice=refusal.advice)
    late = Reason.API_TIMEOUT if _LATE.search(message) else None
    silent = Reason.API_UNREACHABLE if _NO_ANSWER.search(message) else None
    return late or silent or Reason.UNKNOWN, clean(message)
