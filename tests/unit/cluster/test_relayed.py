"""What a controller's condition means that tells what the API server has answered."""

import pytest

from khealth_exporter.cluster.relayed import relayed
from khealth_exporter.vocabulary.reason import Reason

INTERNAL = "Internal error occurred: "
FORBIDDEN = 'pods "x" is forbidden: '
MEANINGS = (
    (FORBIDDEN + "exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2", Reason.QUOTA_EXCEEDED),
    (FORBIDDEN + "failed quota: q: must specify limits.cpu for: pause", Reason.QUOTA_EXCEEDED),
    (FORBIDDEN + "insufficient quota to consume: cpu", Reason.QUOTA_EXCEEDED),
    ("insufficient quota to match these scopes: [{PriorityClass In [system-node-critical]}]", Reason.QUOTA_EXCEEDED),
    ('Operation cannot be fulfilled on resourcequotas "q": the object has been modified; please apply your changes',
     Reason.QUOTA_EXCEEDED),
    (INTERNAL + "resource quota evaluation timed out", Reason.API_ERROR),
    ("resource quota evaluation timed out", Reason.API_ERROR),
    (FORBIDDEN + 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false', Reason.API_REJECTED),
    (FORBIDDEN + "no PriorityClass with name gone was found", Reason.API_REJECTED),
    (FORBIDDEN + "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", Reason.API_REJECTED),
    ("policy 'p' with binding 'b' denied request: cannot apply patch", Reason.API_REJECTED),
    (FORBIDDEN + "policy 'p' denied request: expression failed", Reason.API_REJECTED),
    ('Pod "x" is invalid: spec.containers[0].image: Required value', Reason.API_REJECTED),
    ('admission webhook "policy.example.com" denied the request: Internal error occurred: no', Reason.API_REJECTED),
    (INTERNAL + 'failed calling webhook "a": failed to call webhook: Post "https://a": EOF', Reason.WEBHOOK_FAILED),
    (INTERNAL + 'failed calling webhook "a": context deadline exceeded', Reason.WEBHOOK_FAILED),
    ('admission plugin "MutatingAdmissionWebhook" failed to complete mutation in 13s', Reason.WEBHOOK_FAILED),
    (INTERNAL + 'admission plugin "ValidatingAdmissionWebhook" failed to complete validation in 13s', Reason.WEBHOOK_FAILED),
    (INTERNAL + 'admission plugin "LimitRanger" failed to complete mutation in 13s', Reason.API_ERROR),
    (INTERNAL + "jsonpatch add operation does not apply: doc is missing path", Reason.WEBHOOK_FAILED),
    ("etcdserver: request timed out", Reason.API_ERROR),
    ("etcdserver: mvcc: database space exceeded", Reason.API_ERROR),
    ("rpc error: code = Unavailable desc = etcdserver: leader changed", Reason.API_ERROR),
    ("The  operation against pods could not be completed at this time, please try again.", Reason.API_ERROR),
    ('an error on the server ("This request caused apiserver to panic. Look in the logs for details.") has prevented',
     Reason.API_ERROR),
    ('an error on the server ("Internal Server Error: \\"/api/v1/namespaces/a/pods\\": authorizer: no answer") has prevented',
     Reason.API_ERROR),
    ('an error on the server ("") has prevented the request from succeeding (post pods)', Reason.PROXY_ERROR),
    ('an error on the server ("unknown") has prevented the request from succeeding (post pods)', Reason.PROXY_ERROR),
    ('an error on the server ("<html>\\n520: unknown error</html>") has prevented the request from succeeding',
     Reason.PROXY_ERROR),
    ('an error on the server ("<html>\\n<h1>502 Bad Gateway</h1>") has prevented the request from succeeding (post pods)',
     Reason.API_UNREACHABLE),
    ("the server is currently unable to handle the request (post pods)", Reason.API_UNREACHABLE),
    ("the server rejected our request for an unknown reason (post pods)", Reason.PROXY_ERROR),
    ("the server rejected our request due to an error in our request (post pods)", Reason.PROXY_ERROR),
    ("the server could not find the requested resource (post pods)", Reason.PROXY_ERROR),
    ("the server does not allow this method on the requested resource (post pods)", Reason.PROXY_ERROR),
    ("the server was unable to respond with a content type that the client supports (post pods)", Reason.PROXY_ERROR),
    ("the server reported a conflict (post pods)", Reason.PROXY_ERROR),
    ("the server responded with the status code 302 but did not return more information (post pods)", Reason.PROXY_ERROR),
    ('conversion webhook for example.com/v1, Kind=A failed: Post "https://a": EOF', Reason.WEBHOOK_FAILED),
    (INTERNAL + "conversion webhook for example.com/v1, Kind=A failed: no", Reason.WEBHOOK_FAILED),
    ("client rate limiter Wait returned an error: context deadline exceeded", Reason.POD_NOT_CREATED),
    ("client rate limiter Wait returned an error: rate: Wait(n=1) would exceed context deadline", Reason.POD_NOT_CREATED),
    ("rate: Wait(n=1) would exceed context deadline", Reason.POD_NOT_CREATED),
    ("Request entity too large: limit is 3145728", Reason.API_REJECTED),
    ("Timeout: request did not complete within requested timeout - context deadline exceeded", Reason.API_TIMEOUT),
    ("the server was unable to return a response in the time allotted, but may still be processing the request (post pods)",
     Reason.API_TIMEOUT),
    ('Post "https://10.0.0.1:6443/api/v1/namespaces/a/pods": context deadline exceeded', Reason.API_TIMEOUT),
    ('Post "https://10.0.0.1:6443/api/v1/namespaces/a/pods": net/http: TLS handshake timeout', Reason.API_TIMEOUT),
    ('Post "https://10.0.0.1:6443/api/v1/namespaces/a/pods": dial tcp 10.0.0.1:6443: connect: connection refused',
     Reason.API_UNREACHABLE),
    ("http2: client connection lost", Reason.API_UNREACHABLE),
    ("the server has received too many requests and has asked us to try again later (post pods)", Reason.THROTTLED),
    (FORBIDDEN + "unable to create new content in namespace khealth because it is being terminated", Reason.INTERRUPTED),
    ('namespaces "khealth" not found', Reason.INTERRUPTED),
    (FORBIDDEN + 'error looking up service account a/default: serviceaccount "default" not found', Reason.POD_NOT_CREATED),
    (FORBIDDEN + 'User "system:serviceaccount:kube-system:replication-controller" cannot create resource "pods"',
     Reason.POD_NOT_CREATED),
    ("Unauthorized", Reason.POD_NOT_CREATED),
    ("the server has asked for the client to provide credentials (post pods)", Reason.PROXY_ERROR),
    ("something that nobody has seen", Reason.UNKNOWN),
    ("", Reason.UNKNOWN),
)  # fmt: skip
"""The words of apimachinery, of admission plug-ins, of etcd, and of client-go."""


@pytest.mark.parametrize(("message", "reason"), MEANINGS, ids=lambda value: str(value)[:70])
def test_a_relayed_refusal_means_what_it_would_mean_to_khealth(message: str, reason: Reason) -> None:
    """Only the controller's own rights, and service accounts that are missing, are the controller manager's."""
    assert reason is relayed(message)[0]


def test_the_note_has_the_words_and_what_to_do() -> None:
    """As for khealth's own requests."""
    message = FORBIDDEN + "failed quota: q: must specify limits.cpu for: pause"
    assert f"{message}: set pod.resources, or add a LimitRange with defaults" == relayed(message)[1]
