"""What an answer means, by what a real API server has answered."""

import json
import re
import ssl
from errno import ECONNREFUSED, EMFILE
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khealth_exporter.cluster.errors import (
    ProxyRefusedError,
    Refusal,
    Refused,
    clean,
    judge,
    no_answer,
    no_credentials,
    undecodable,
)
from khealth_exporter.cluster.status import read_status
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result

ANSWERS = Path(__file__).parent / "answers"

GIVE_UP, RETRY = False, True

MEANINGS = {
    "rbac": (Reason.FORBIDDEN, GIVE_UP),
    "bad_token": (Reason.FORBIDDEN, GIVE_UP),
    "exceeded_quota": (Reason.QUOTA_EXCEEDED, GIVE_UP),
    "failed_quota": (Reason.QUOTA_EXCEEDED, GIVE_UP),
    "limit_range": (Reason.API_REJECTED, GIVE_UP),
    "pod_security": (Reason.API_REJECTED, GIVE_UP),
    "priority_class_missing": (Reason.API_REJECTED, GIVE_UP),
    "priority_forbidden": (Reason.API_REJECTED, GIVE_UP),
    "service_account_missing": (Reason.API_REJECTED, GIVE_UP),
    "namespace_terminating": (Reason.INTERRUPTED, GIVE_UP),
    "namespace_missing": (Reason.API_REJECTED, GIVE_UP),
    "not_found": (Reason.API_REJECTED, GIVE_UP),
    "already_exists": (Reason.API_REJECTED, GIVE_UP),
    "conflict_uid": (Reason.API_REJECTED, GIVE_UP),
    "conflict_version": (Reason.API_REJECTED, GIVE_UP),
    "invalid": (Reason.API_REJECTED, GIVE_UP),
    "malformed": (Reason.API_REJECTED, GIVE_UP),
    "expired_list": (Reason.WATCH_INTERRUPTED, GIVE_UP),
    "expired_watch": (Reason.WATCH_INTERRUPTED, GIVE_UP),
    "version_too_large": (Reason.API_ERROR, RETRY),
    "webhook_failed": (Reason.WEBHOOK_FAILED, GIVE_UP),
    "admission_policy": (Reason.API_REJECTED, GIVE_UP),
    "disruption_budget": (Reason.THROTTLED, GIVE_UP),
    "priority_and_fairness": (Reason.THROTTLED, RETRY),
}
"""What each answer means that `record_answers.py` has recorded from Kubernetes 1.37."""


def recorded(name: str) -> Refusal:
    """Judge a recorded answer; a watch's is the object of its first line."""
    answer = json.loads((ANSWERS / f"{name}.json").read_text())
    body = answer["body"]
    if "watch=" in answer["request"]:
        body = json.dumps(json.loads(body)["object"])
    return judge(answer["code"], body.encode(), answer["headers"])


def status(message: str, reason: str = "", *causes: str, retry_after: object = None) -> bytes:
    """Return a Status as the API server writes it."""
    details = {"causes": [{"reason": cause} for cause in causes], "retryAfterSeconds": retry_after}
    return json.dumps({"kind": "Status", "message": message, "reason": reason, "details": details}).encode()


def test_every_recorded_answer_has_its_meaning() -> None:
    """No answer is recorded that is not judged here."""
    assert {file.stem for file in ANSWERS.glob("*.json")} == set(MEANINGS)


@pytest.mark.parametrize("name", MEANINGS)
def test_a_recorded_answer_means_what_the_table_says(name: str) -> None:
    """A real answer gets the reason of its line, and is retried only where that may help."""
    refusal = recorded(name)
    assert (refusal.reason, refusal.retry) == MEANINGS[name]


@pytest.mark.parametrize("name", MEANINGS)
def test_a_recorded_answer_makes_a_note_that_begins_with_its_code(name: str) -> None:
    """A note is short and begins with what can be searched for."""
    refusal = recorded(name)
    assert refusal.note.startswith(f"HTTP {refusal.code}: ")
    assert len(refusal.note) <= 400


@pytest.mark.parametrize(
    ("name", "missing", "exists", "conflict", "expired", "renew"),
    [
        ("not_found", True, False, False, False, False),
        ("namespace_missing", True, False, False, False, False),
        ("already_exists", False, True, False, False, False),
        ("conflict_uid", False, False, True, False, False),
        ("conflict_version", False, False, True, False, False),
        ("expired_list", False, False, False, True, False),
        ("expired_watch", False, False, False, True, False),
        ("bad_token", False, False, False, False, True),
        ("rbac", False, False, False, False, False),
    ],
)
def test_what_callers_act_upon_is_told_apart(  # noqa: PLR0913 - a row of the table each
    *, name: str, missing: bool, exists: bool, conflict: bool, expired: bool, renew: bool
) -> None:
    """404, both kinds of 409, 410 and 401 are told by a property of their own."""
    refusal = recorded(name)
    told = (refusal.missing, refusal.exists, refusal.conflict, refusal.expired, refusal.renew)
    assert told == (missing, exists, conflict, expired, renew)


def test_a_failing_webhook_is_named_in_the_note() -> None:
    """Who reads the note knows which webhook to look at."""
    assert '"dead.answers.example.com"' in recorded("webhook_failed").note


def test_an_eviction_that_a_budget_forbids_differs_from_a_throttled_request() -> None:
    """Both are 429; the causes tell."""
    assert recorded("disruption_budget").causes == ("DisruptionBudget",)
    assert recorded("priority_and_fairness").causes == ()


def test_retry_after_is_taken_from_the_header() -> None:
    """The header says how long to wait."""
    assert recorded("priority_and_fairness").retry_after == 1


def test_retry_after_is_taken_from_the_status_where_there_is_no_header() -> None:
    """The details of a Status say how long to wait."""
    assert judge(503, status("later", retry_after=7)).retry_after == 7


@pytest.mark.parametrize(
    "header", ["0", "-1", "1.5", "nan", "inf", "Wed, 21 Oct 2015 07:28:00 GMT", "1" * 400, "", "²"]
)
def test_a_retry_after_that_is_no_number_of_seconds_is_passed_over(header: str) -> None:
    """What the API server never sends cannot make khealth wait forever, or crash."""
    assert judge(503, status("later", retry_after=header), {"Retry-After": header}).retry_after is None


# The texts below are those of the API server's source, where the case cannot be had on order:
# apiserver/pkg/server/filters/with_retry_after.go, pkg/storage/cacher/ready.go and delegator.go, and
# pkg/admission/plugin/webhook/errors/statuserror.go.
@pytest.mark.parametrize(
    ("code", "body", "reason", "retry"),
    [
        (429, b"The apiserver is shutting down, please try again later.\n", Reason.API_ERROR, RETRY),
        (429, status("storage is (re)initializing", "TooManyRequests"), Reason.API_ERROR, RETRY),
        (429, status("Timeout: Too large resource version: 9, current: 8", "TooManyRequests"), Reason.API_ERROR, RETRY),
        (429, b"Too many requests, please try again later.\n", Reason.THROTTLED, RETRY),
        (429, status("too many", "TooManyRequests"), Reason.THROTTLED, RETRY),
        (503, status("apiserver is shutting down", "ServiceUnavailable"), Reason.API_ERROR, RETRY),
        (504, status("Timeout: request did not complete", "Timeout"), Reason.API_TIMEOUT, RETRY),
        (500, status("etcdserver: request timed out", "InternalError"), Reason.API_ERROR, GIVE_UP),
        (400, status('admission webhook "a.b" denied the request: no'), Reason.API_REJECTED, GIVE_UP),
        (400, status('admission webhook "a.b" does not support dry run'), Reason.DRY_RUN_UNSUPPORTED, GIVE_UP),
        (503, status('admission webhook "a.b" denied the request: no'), Reason.API_REJECTED, GIVE_UP),
        (429, status('admission webhook "a.b" denied the request: no'), Reason.API_REJECTED, GIVE_UP),
        (502, b"<html><head><title>502 Bad Gateway</title></head></html>", Reason.API_UNREACHABLE, RETRY),
        (502, b"", Reason.API_UNREACHABLE, RETRY),
        (502, status("x"), Reason.API_UNREACHABLE, RETRY),
        (502, b"<title>502 Server Error</title> The server encountered a temporary error", Reason.API_UNREACHABLE, RETRY),
        (503, b"<html>no backend</html>", Reason.API_UNREACHABLE, RETRY),
        (503, b"no healthy upstream", Reason.API_UNREACHABLE, RETRY),
        (503, b"no available server\n", Reason.API_UNREACHABLE, RETRY),
        (503, b"<h1>503 Service Temporarily Unavailable</h1>nginx", Reason.API_UNREACHABLE, RETRY),
        (503, b"<h1>503 Service Unavailable</h1>No server is available to handle", Reason.API_UNREACHABLE, RETRY),
        (503, b"<h1>Application is not available</h1>", Reason.API_UNREACHABLE, RETRY),
        (503, b'{"message":"failure to get a peer from the ring-balancer"}', Reason.API_UNREACHABLE, RETRY),
        (504, b"upstream request timeout", Reason.API_TIMEOUT, RETRY),
        (504, b"<h1>504 Gateway Time-out</h1>", Reason.API_TIMEOUT, RETRY),
        (504, b"", Reason.API_TIMEOUT, RETRY),
        (302, b"", Reason.PROXY_ERROR, GIVE_UP),
        (413, b"", Reason.PROXY_ERROR, GIVE_UP),
        (413, status("Request entity too large: limit is 3145728"), Reason.API_REJECTED, GIVE_UP),
        (500, status("Internal error occurred: resource quota evaluation timed out"), Reason.API_ERROR, GIVE_UP),
        (500, status("insufficient quota to match these scopes: [{PriorityClass In [a]}]"), Reason.QUOTA_EXCEEDED, GIVE_UP),
        (403, status('pods "a" is forbidden: insufficient quota to consume: cpu'), Reason.QUOTA_EXCEEDED, GIVE_UP),
        (403, status('pods "a" is forbidden: status unknown for quota: q, resources: cpu'), Reason.QUOTA_EXCEEDED, GIVE_UP),
        (403, status('pods "a" is forbidden: failed quota: q: must specify limits.cpu for: pause'), Reason.QUOTA_EXCEEDED, GIVE_UP),
        (422, status("pods \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: exceeded quota"),
         Reason.API_REJECTED, GIVE_UP),
        (500, status("policy 'p' with binding 'b' denied request: cannot apply"), Reason.API_REJECTED, GIVE_UP),
        (500, status('Internal error occurred: admission plugin "MutatingAdmissionWebhook" failed to complete mutation in 13s'),
         Reason.WEBHOOK_FAILED, GIVE_UP),
        (500, status('Internal error occurred: admission plugin "ValidatingAdmissionWebhook" failed to complete validation in 13s'),
         Reason.WEBHOOK_FAILED, GIVE_UP),
        (500, status('Internal error occurred: admission plugin "LimitRanger" failed to complete mutation in 13s'),
         Reason.API_ERROR, GIVE_UP),
        (500, status('Internal error occurred: admission webhook "a" attempted to modify the object, which is not supported'),
         Reason.WEBHOOK_FAILED, GIVE_UP),
        (500, status("conversion webhook for a/v1, Kind=A failed: Post: EOF"), Reason.WEBHOOK_FAILED, GIVE_UP),
        (500, status("Internal error occurred: conversion webhook for a/v1, Kind=A failed"), Reason.WEBHOOK_FAILED, GIVE_UP),
        (500, status("boom"), Reason.API_ERROR, GIVE_UP),
        (520, status("boom"), Reason.API_ERROR, GIVE_UP),
        (999, status("boom"), Reason.API_ERROR, GIVE_UP),
        (123456, status("boom"), Reason.API_ERROR, GIVE_UP),
    ],
)  # fmt: skip
def test_an_answer_from_the_source_means_what_the_table_says(
    *, code: int, body: bytes, reason: Reason, retry: bool
) -> None:
    """What cannot be recorded on order gets the reason of its line all the same."""
    refusal = judge(code, body)
    assert (refusal.reason, refusal.retry) == (reason, retry)


def test_a_quota_that_others_change_is_tried_again() -> None:
    """Many objects are created in the namespace: the quota conflicts, not the object that was meant."""
    message = (
        'Operation cannot be fulfilled on resourcequotas "q": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    refusal = judge(409, status(message, "Conflict"))
    found = refusal.reason, refusal.retry, refusal.conflict, refusal.exists, refusal.undecided
    assert (Reason.QUOTA_EXCEEDED, RETRY, False, False, False) == found


@pytest.mark.parametrize(
    "message",
    [
        'Operation cannot be fulfilled on pods "resourcequotas ": the object has been modified',
        'Operation cannot be fulfilled on configmaps "q": the object has been modified',
    ],
)
def test_a_conflict_of_another_object_is_not_a_quotas(message: str) -> None:
    """Its words name what conflicts."""
    refusal = judge(409, status(message, "Conflict"))
    assert (Reason.API_REJECTED, GIVE_UP, True) == (refusal.reason, refusal.retry, refusal.conflict)


def test_a_quota_is_recognised_in_the_403_of_a_pod_too() -> None:
    """The message names the quota, whatever was to be created."""
    message = 'pods "a" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=5, limited: pods=5'
    assert judge(403, status(message, "Forbidden")).reason is Reason.QUOTA_EXCEEDED


def test_a_proxys_page_is_told_without_its_tags() -> None:
    """A page becomes one line of words."""
    assert judge(502, b"<html>\r\n<h1>Bad Gateway</h1>\n<p>nginx</p></html>").note == "HTTP 502: Bad Gateway nginx"


def test_half_a_status_is_still_understood() -> None:
    """A proxy that cuts the answer short does not turn missing rights into a fault of the cluster."""
    body = b'{"kind":"Status","message":"pods is forbidden: User \\"a\\" cannot create resource \\"pods\\" in'
    assert judge(403, body).reason is Reason.FORBIDDEN


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b"{}",
        b'"text"',
        b'{"message":null,"reason":null,"details":null,"code":null}',
        b'{"message":{},"reason":[],"details":{"causes":{"a":1},"retryAfterSeconds":[]},"code":"x"}',
        b'{"details":{"causes":[null,1,"a",{"reason":5},{}]}}',
        b'{"details":[],"code":1e400}',
        b'{"message":"\\ud800"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_an_absurd_body_is_read_as_far_as_it_makes_sense(body: bytes) -> None:
    """Null, wrong types, deep nesting and broken text neither crash nor mislead."""
    refusal = judge(403, body)
    assert (refusal.reason, refusal.status_reason) == (Reason.PROXY_ERROR, "")


@settings(deadline=None)
@given(code=st.integers(0, 1000), body=st.binary(max_size=500))
def test_no_bytes_can_break_the_judgement(code: int, body: bytes) -> None:
    """Any bytes under any code get a meaning."""
    assert isinstance(judge(code, body), Refusal)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
FIELDS = st.sampled_from(["kind", "code", "message", "reason", "details", "causes", "retryAfterSeconds"])
CAUSES = st.lists(SCALARS | st.dictionaries(FIELDS, SCALARS, max_size=2), max_size=2)
DETAILS = st.dictionaries(FIELDS, SCALARS | CAUSES, max_size=3)


@settings(deadline=None)
@given(
    code=st.integers(0, 1000),
    body=st.dictionaries(FIELDS, SCALARS | DETAILS, max_size=5),
    retry_after=st.text(max_size=9),
)
def test_no_object_can_break_the_judgement(code: int, body: object, retry_after: str) -> None:
    """Whatever a Status holds, its note is one short line that can be shown anywhere."""
    refusal = judge(code, json.dumps(body).encode(), {"Retry-After": retry_after})
    assert refusal.note.isprintable()
    assert len(refusal.note) <= 400
    refusal.note.encode()


@settings(deadline=None)
@given(cut=st.integers(0, 400), name=st.sampled_from(sorted(MEANINGS)))
def test_no_truncation_can_break_the_judgement(cut: int, name: str) -> None:
    """A real answer cut anywhere gets a meaning."""
    answer = json.loads((ANSWERS / f"{name}.json").read_text())
    assert isinstance(judge(answer["code"], answer["body"].encode()[:cut]), Refusal)


def test_a_note_holds_no_control_characters() -> None:
    """No escape sequence, line break or change of direction reaches a log or a page."""
    assert clean("a\x1b[31mb\r\nc\x00d\u202ee\ud800f") == "a [31mb c d e f"


@pytest.mark.parametrize(
    ("message", "policy"),
    [
        (
            (
                'admission webhook "validate.kyverno.svc-fail" denied the request: \n\nresource Pod/'
                f"{'n' * 63}/{'p' * 58} was blocked due to the following policies \n\n"
                "require-labels:\n  check-for-labels: 'validation error: The label `team` is required.'\n"
            ),
            "require-labels: check-for-labels",
        ),
        (
            'admission webhook "validation.gatekeeper.sh" denied the request: [pods-must-have-team] no label team',
            "[pods-must-have-team]",
        ),
        (
            "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'limits' with binding 'all' denied request: no limits",
            "'limits'",
        ),
        (
            (
                'pods "p" is forbidden: unable to validate against any security context constraint: [provider "anyuid": '
                "Forbidden: not usable by user or serviceaccount, provider restricted-v2: .spec.securityContext.runAsUser: "
                "Invalid value: 65535: must be in the ranges: [1000650000, 1000659999]]"
            ),
            "restricted-v2: .spec.securityContext.runAsUser",
        ),
    ],
)
def test_a_note_names_the_policy_that_refused(message: str, policy: str) -> None:
    """However long the names before it are."""
    body = json.dumps({"kind": "Status", "code": 403, "reason": "Forbidden", "message": message}).encode()
    refusal = judge(403, body)
    assert (Reason.API_REJECTED, True) == (refusal.reason, policy in refusal.note)


def test_a_long_note_is_cut_short() -> None:
    """A note has 400 characters at most, and shows that it was cut."""
    assert clean("a" * 1000) == "a" * 399 + "…"


def test_a_status_tells_its_own_code() -> None:
    """An ERROR line of a watch comes under 200: what happened is told inside."""
    assert read_status(b'{"kind":"Status","code":410}').code == 410


def refused_connection() -> OSError:
    """Return what connecting to a closed port raises."""
    return ConnectionRefusedError(ECONNREFUSED, "Connection refused")


@pytest.mark.parametrize(
    ("error", "reason", "renew"),
    [
        (TimeoutError(), Reason.API_TIMEOUT, False),
        (refused_connection(), Reason.API_UNREACHABLE, False),
        (ConnectionResetError(), Reason.API_UNREACHABLE, False),
        (ssl.SSLError(1, "handshake failure"), Reason.API_UNREACHABLE, False),
        (ssl.SSLCertVerificationError(1, "unable to get local issuer certificate"), Reason.API_UNREACHABLE, True),
        (OSError(EMFILE, "Too many open files"), Reason.PROBER_STARVED, False),
    ],
)
def test_no_answer_means_what_prevented_it(*, error: OSError, reason: Reason, renew: bool) -> None:
    """Time-outs, refusals and khealth's own limits are told apart."""
    refusal = no_answer(error)
    assert (refusal.reason, refusal.renew, refusal.retry, refusal.code) == (reason, renew, True, 0)
    assert refusal.note


def test_missing_credentials_say_nothing_of_the_cluster() -> None:
    """A plug-in that fails makes an attempt inconclusive."""
    refusal = no_credentials(RuntimeError("the plug-in said no"))
    assert (refusal.reason, refusal.reason.result, refusal.retry) == (Reason.FORBIDDEN, Result.INCONCLUSIVE, False)
    assert refusal.note == "the plug-in said no"


@pytest.mark.parametrize(
    ("refusal", "undecided"),
    [
        (no_answer(TimeoutError()), True),
        (no_answer(refused_connection()), True),
        (judge(502, b""), True),
        (judge(504, b""), True),
        (judge(500, b""), True),
        (judge(500, status('failed calling webhook "a"', "InternalError")), False),
        (judge(429, b""), False),
        (no_credentials(TimeoutError()), False),
        (no_answer(OSError(EMFILE, "Too many open files")), False),
    ],
)
def test_a_write_may_have_been_done_where_nobody_who_knows_has_answered(*, refusal: Refusal, undecided: bool) -> None:
    """Time-outs, gateways and a server's own errors leave a write undecided; a refusal does not."""
    assert refusal.undecided == undecided
    assert Refused(refusal, "create pods").unanswered == undecided


def test_refused_says_what_was_asked_and_how_it_was_refused() -> None:
    """The note of the failure names the request."""
    refused = Refused(judge(404, status('pods "a" not found', "NotFound")), "get pods", tries=3)
    assert (refused.reason, refused.note) == (Reason.API_REJECTED, 'get pods: HTTP 404: pods "a" not found')
    assert refused.tries == 3


NOT_PERMITTED = {
    "rbac",
    "bad_token",
    "version_too_large",
    "webhook_failed",
    "disruption_budget",
    "priority_and_fairness",
}
"""Answers after which nobody knows whether khealth has the right to ask for this; after `rbac`, that it has not."""


@pytest.mark.parametrize("name", MEANINGS)
def test_a_lacking_right_is_told_from_everything_else(name: str) -> None:
    """Only authorization's own refusal says that one is lacking: no quota, no policy, no Pod Security does."""
    refusal = recorded(name)
    assert (name == "rbac", name not in NOT_PERMITTED) == (refusal.denied, refusal.permitted)


@pytest.mark.parametrize(
    "message",
    [
        "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: User \"y\" cannot do so",
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": User "y" cannot be root',
        'admission webhook "w" denied the request: pods is forbidden: User "y" cannot create resource "pods"',
        'User "y" cannot create pods, says the proxy',
    ],
)
def test_whoever_borrows_the_words_of_authorization_is_not_it(message: str) -> None:
    """An admission policy may say what its author likes."""
    refusal = judge(403, status(message, "Forbidden"))
    assert (Reason.API_REJECTED, False) == (refusal.reason, refusal.denied)


@pytest.mark.parametrize(
    "subject", ["pods", 'pods "x"', "leases.coordination.k8s.io", 'namespaces "khealth"', "pods/eviction"]
)
def test_every_resource_is_refused_in_the_same_words(subject: str) -> None:
    """With a name and without, of any group."""
    message = f'{subject} is forbidden: User "system:serviceaccount:a:b" cannot get resource "x" in API group ""'
    assert judge(403, status(message, "Forbidden")).denied


PAGE = b"<html><head><style>b{}</style></head><body><h1>Access denied</h1>Sign in first</body></html>"
LOGIN = b'{"type":"error","status":"401","message":"must authenticate"}'


@pytest.mark.parametrize("code", [301, 302, 307, 400, 401, 403, 404, 405, 407, 408, 409, 413, 421, 429, 431, 451])
@pytest.mark.parametrize("body", [PAGE, LOGIN, b"RBAC: access denied", b""], ids=["page", "json", "text", "empty"])
def test_an_answer_that_no_api_server_wrote_says_nothing_of_the_cluster(code: int, body: bytes) -> None:
    """It is inconclusive, and says what answered; nothing is missing, exists, or is forbidden by its word."""
    refusal = judge(code, body)
    acted_upon = refusal.missing, refusal.exists, refusal.conflict, refusal.denied, refusal.permitted, refusal.undecided
    assert (Reason.PROXY_ERROR, Result.INCONCLUSIVE, (False,) * 6) == (
        refusal.reason,
        refusal.reason.result,
        acted_upon,
    )
    assert refusal.note.startswith(f"something between khealth and the API server: HTTP {code}: ")


@pytest.mark.parametrize(
    ("code", "body"),
    [
        *((code, PAGE) for code in (500, 501, 502, 503, 504, 505, 511, 520, 521, 522, 530, 999, 123456)),
        *((code, LOGIN) for code in (500, 502, 503, 504, 520)),
        *((code, b'{"error":"login required"}') for code in (500, 502, 503, 504, 520)),
        (500, b""),
        (500, b"Internal Server Error"),
        (503, b"<html><title>Just a moment...</title>Enable JavaScript and cookies to continue</html>"),
        (503, b"We are down for maintenance"),
        (520, b"<title>example.com | 520: Web server is returning an unknown error</title>"),
    ],
)
def test_an_error_page_that_no_api_server_wrote_says_nothing_of_the_cluster(code: int, body: bytes) -> None:
    """It may pass, and a write may have been done before it."""
    refusal = judge(code, body)
    found = refusal.reason, refusal.reason.result, refusal.retry, refusal.undecided
    assert (Reason.PROXY_ERROR, Result.INCONCLUSIVE, RETRY, True) == found


@pytest.mark.parametrize(
    ("code", "body", "reason"),
    [
        (429, b"", Reason.THROTTLED),
        (500, b"This request caused apiserver to panic. Look in the logs for details.\n", Reason.API_ERROR),
        (500, b"[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n", Reason.API_ERROR),
        (503, b"", Reason.API_ERROR),
        (504, b"", Reason.API_TIMEOUT),
    ],
)
def test_an_answer_with_an_audit_id_is_the_api_servers(code: int, body: bytes, reason: Reason) -> None:
    """Whatever its body."""
    assert reason is judge(code, body, {"Audit-Id": "f3"}).reason


def test_the_words_of_a_page_are_in_the_note() -> None:
    """Without its style."""
    assert judge(403, PAGE).note.endswith("HTTP 403: Access denied Sign in first")


def test_what_the_api_server_has_numbered_is_its_own() -> None:
    """Every answer of it has an audit id, though its body may have been replaced."""
    assert Reason.API_REJECTED is judge(403, b"", {"Audit-Id": "f3"}).reason


@pytest.mark.parametrize("code", [403, 407, 429, 500, 502, 503, 504])
def test_a_proxy_that_reads_the_request_is_named(code: int) -> None:
    """Without TLS it may be the proxy that answers, and only a Status is certainly not its own."""
    refusal = judge(code, PAGE, proxy="http://proxy:3128")
    assert (Reason.PROXY_ERROR, code >= 500) == (refusal.reason, refusal.retry)
    assert refusal.note.startswith(f"proxy http://proxy:3128: HTTP {code}: ")
    assert Reason.PROXY_ERROR is not judge(code, status("x"), proxy="http://proxy:3128").reason or code == 407


@pytest.mark.parametrize(
    ("error", "says", "retry", "renew"),
    [
        (ProxyRefusedError(407), "HTTP 407 to CONNECT", GIVE_UP, True),
        (ProxyRefusedError(403), "HTTP 403 to CONNECT", GIVE_UP, False),
        (ProxyRefusedError(502), "HTTP 502 to CONNECT", RETRY, False),
        (ProxyRefusedError(503), "HTTP 503 to CONNECT", RETRY, False),
        (refused_connection(), "Connection refused", RETRY, False),
        (TimeoutError(), "no answer in time", RETRY, False),
    ],
)
def test_a_proxy_that_leads_nowhere_is_named(*, error: OSError, says: str, retry: bool, renew: bool) -> None:
    """It says nothing of the API server; what lasts is not asked for again."""
    refusal = no_answer(error, proxy="http://proxy:3128")
    assert (Reason.PROXY_ERROR, retry, renew, 0) == (refusal.reason, refusal.retry, refusal.renew, refusal.code)
    assert refusal.note.startswith("proxy http://proxy:3128: ")
    assert says in refusal.note


def test_a_machine_without_files_is_no_fault_of_a_proxy() -> None:
    """The error of the system tells."""
    assert Reason.PROBER_STARVED is no_answer(OSError(EMFILE, "Too many open files"), proxy="http://proxy:3128").reason


@pytest.mark.parametrize(
    "body",
    [
        b"\n<!doctype html><p>Sign in",
        b"Please log in",
        b"RBAC: access denied",
        b'{"error":"login required"}',
        b'"login"',
        LOGIN,
    ],
)
def test_what_is_not_of_kubernetes_under_200_is_not_the_api_servers(body: bytes) -> None:
    """An access proxy shows its form for people, or says so in JSON; its words are told."""
    failed = undecodable("answer", body, "malformed")
    words = re.findall("[a-z]+", body.decode())[-1]
    assert (Reason.PROXY_ERROR, True) == (failed.reason, words in failed.note)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b'{"kind":', b'{"kind":"Pod"}', b'{"metadata":{}}', b"{half", b"\xff\xfe"]
)
def test_what_is_left_of_an_object_under_200_is_the_api_servers(body: bytes) -> None:
    """It was cut, or lacks a field."""
    assert Reason.API_ERROR is undecodable("answer", body, "malformed").reason


def test_a_quota_that_demands_more_says_what_to_set() -> None:
    """The advice is whole, however long the API server's words are."""
    message = 'pods "a" is forbidden: failed quota: q: must specify ' + "limits.cpu for: pause; " * 20
    assert judge(403, status(message)).note.endswith(": set pod.resources, or add a LimitRange with defaults")


@pytest.mark.parametrize("shown", ["Bearer hunter22", "Your header was hunter22", "http://joe:hunter22@proxy:1/"])
def test_a_page_that_repeats_a_secret_does_not_bring_it_into_the_note(shown: str) -> None:
    """What khealth has shown is known, whatever the page makes of it."""
    notes = judge(403, shown.encode(), secrets=["hunter22"]).note, no_answer(OSError(shown), secrets=["hunter22"]).note
    assert [False, False] == ["hunter22" in note for note in notes]


def test_credentials_that_are_refused_differ_from_rights_that_are_missing() -> None:
    """401, and none to send; not 403."""
    found = [recorded("bad_token"), no_credentials(RuntimeError("no")), recorded("rbac"), judge(401, PAGE)]
    assert [True, True, False, False] == [refusal.unauthenticated for refusal in found]
