"""A small HTTPS server that an API server asks about every pod of a namespace, and what it answers."""

import base64
import json
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from benchmarks.harness import kubectl

NAME = "bench.khealth.example"
FINALIZER = "bench.khealth.example/held"
SECONDS = 2
"""Seconds that the API server waits for an answer."""
Answer = Callable[[Mapping[str, Any], threading.Event], Mapping[str, Any]]
"""Makes an answer's content from the pod that is asked about; the event is set at the end of the fault."""


def rejects(_pod: Mapping[str, Any], _over: threading.Event) -> Mapping[str, Any]:
    """Admit nothing."""
    return {"allowed": False, "status": {"code": 403, "message": "the fault table admits nothing"}}


def hangs(_pod: Mapping[str, Any], over: threading.Event) -> Mapping[str, Any]:
    """Answer when nobody waits any longer."""
    over.wait(10 * SECONDS)
    return {"allowed": True}


def holds(pod: Mapping[str, Any], _over: threading.Event) -> Mapping[str, Any]:
    """Give every pod one more finalizer, which nobody removes; a Job's pod has one already."""
    finalizers = [*pod["metadata"].get("finalizers", ()), FINALIZER]
    patch = [{"op": "add", "path": "/metadata/finalizers", "value": finalizers}]
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


def review(asked: Mapping[str, Any], content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an AdmissionReview that answers another one."""
    return {
        **{key: asked[key] for key in ("apiVersion", "kind")},
        "response": {"uid": asked["request"]["uid"], **content},
    }


def configuration(kind: str, url: str, authority: bytes, namespace: str) -> Mapping[str, Any]:
    """Return what makes the API server ask at a URL about every pod that is created in a namespace."""
    client = {"url": url, "caBundle": base64.b64encode(authority).decode()}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    webhook = {
        "name": NAME,
        "clientConfig": client,
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": SECONDS,
        "failurePolicy": "Fail",
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": NAME},
        "webhooks": [webhook],
    }


@contextmanager
def served(address: str, answer: Answer) -> Iterator[tuple[str, bytes]]:
    """Answer on a port of this machine until the block ends; yield the URL, and the authority of its certificate."""
    over, authority = threading.Event(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(address).configure_cert(context)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = json.dumps(review(asked, answer(asked["request"]["object"], over))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing of clients that went."""

    server = Server((address, 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://{address}:{server.server_address[1]}/", authority.cert_pem.bytes()
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def asked(namespace: str, address: str, answer: Answer) -> Iterator[None]:
    """Let the API server ask about every pod of a namespace until the block ends."""
    kind = "MutatingWebhookConfiguration" if answer is holds else "ValidatingWebhookConfiguration"
    with served(address, answer) as (url, authority), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "webhook.json"
        file.write_text(json.dumps(configuration(kind, url, authority, namespace)), encoding="utf-8")
        try:
            kubectl("apply", "-f", str(file))
            yield
        finally:
            kubectl("delete", kind, NAME, "--ignore-not-found")
