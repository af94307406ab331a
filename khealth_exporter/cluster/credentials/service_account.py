"""The service account of the pod that khealth runs in: three files, and the environment."""

import os
from pathlib import Path

from khealth_exporter.cluster.credentials.exec_plugin import CredentialsError
from khealth_exporter.cluster.credentials.loaded import Found, Loaded, bearer, loaded, told_as

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, its authority and its namespace."""


def in_pod() -> bool:
    """Tell whether this process runs in a pod that has a service account."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and (SERVICE_ACCOUNT / "token").is_file()


def from_service_account() -> Loaded:
    """Read what the kubelet gave to this pod; raise CredentialsError."""
    with told_as(f"service account in {SERVICE_ACCOUNT}"):
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
        if not host or not port:
            raise CredentialsError("KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is not set")
        authority, namespace = SERVICE_ACCOUNT / "ca.crt", SERVICE_ACCOUNT / "namespace"
        certificates = authority.read_bytes()
        if not certificates.strip():
            raise CredentialsError("ca.crt is empty")
        return loaded(
            Found(
                server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
                authority=certificates,
                authorization=bearer((SERVICE_ACCOUNT / "token").read_text()),
                namespace=(namespace.read_text().strip() if namespace.exists() else "") or None,
                token_file=SERVICE_ACCOUNT / "token",
                in_cluster=True,
            )
        )
