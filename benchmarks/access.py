"""How the benchmarks themselves reach the API server that KUBECONFIG names."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import urlsplit

from kubernetes import client, config


@dataclass(frozen=True, slots=True)
class Access:
    """A server, and what it wants to see before it answers."""

    server: str
    headers: Mapping[str, str]
    authority: str | None
    certificate: str | None
    key: str | None

    @classmethod
    def load(cls) -> "Access":
        """Read the kubeconfig by the official client."""
        config.load_kube_config()  # type: ignore[no-untyped-call]  # it has no types
        known = client.Configuration.get_default_copy()
        token = known.api_key.get("authorization")
        headers = {"Authorization": token} if token else {}
        return cls(known.host, headers, known.ssl_ca_cert, known.cert_file, known.key_file)

    def connection(self) -> HTTPConnection:
        """Return a connection of the standard library's."""
        server = urlsplit(self.server)
        if server.scheme == "http":
            return HTTPConnection(server.netloc)
        context = ssl.create_default_context(cafile=self.authority)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return HTTPSConnection(server.netloc, context=context)
