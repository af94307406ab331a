"""What of a kubeconfig and of the environment is honoured: every row of docs/kubectl.md."""

import json
import ssl
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import trustme

from docs.kubectl_rows import NO_PROXY, ROWS, SERVER, Row
from khealth_exporter.cluster.credentials import kubeconfig_file, loaded
from khealth_exporter.cluster.credentials.credentials import CredentialsError, load_credentials

PLUGIN = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "of-plugin"}}
LISTED = [row for rows in ROWS.values() for row in rows]


@dataclass
class Tls:
    """What TLS was given."""

    own_authority: bool = False
    certificate: bool = False


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without a proxy of this machine's."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the files that rows name."""
    directory = tmp_path_factory.mktemp("kubeconfig")
    authority = trustme.CA()
    client = authority.issue_cert("client@example.com")
    (directory / "ca.crt").write_bytes(authority.cert_pem.bytes())
    (directory / "client.crt").write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
    (directory / "client.key").write_bytes(client.private_key_pem.bytes())
    (directory / "token").write_text("of-file\n")
    (directory / "plugin").write_text(f"#!/bin/sh\necho '{json.dumps(PLUGIN)}'\n")
    (directory / "plugin").chmod(0o700)
    return directory


@pytest.fixture
def tls(monkeypatch: pytest.MonkeyPatch) -> Tls:
    """Return what notes with what TLS is set up."""
    noted = Tls()
    default, show = ssl.create_default_context, loaded._show

    def context(*, cadata: str | None) -> ssl.SSLContext:
        noted.own_authority = cadata is not None
        return default(cadata=cadata)

    def shown(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
        noted.certificate = True
        show(context, certificate, key)

    monkeypatch.setattr(ssl, "create_default_context", context)
    monkeypatch.setattr(loaded, "_show", shown)
    return noted


def kubeconfig(row: Row) -> str:
    """Return a kubeconfig with a row's cluster and user."""
    cluster = row.cluster if "server:" in row.cluster else ", ".join(filter(None, (f"server: '{SERVER}'", row.cluster)))
    return (
        "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
        f"clusters: [{{name: a, cluster: {{{cluster}}}}}]\nusers: [{{name: a, user: {{{row.user}}}}}]\n"
    )


async def outcome(file: Path, noted: Tls) -> list[str]:
    """Return what khealth does with a kubeconfig, as the page says it."""
    try:
        credentials = load_credentials("kubeconfig", file, None)
    except CredentialsError as error:
        return [f"error: {str(error).partition(f'kubeconfig {file}, context a: ')[2]}"]
    headers = await credentials.headers()
    unverified = credentials.tls is not None and credentials.tls.verify_mode is ssl.CERT_NONE
    return [
        *([f"`{credentials.server}`"] if credentials.server != SERVER else []),
        *(f"`{name}: {value}`" for name, value in headers.items()),
        *(["client certificate"] if noted.certificate else []),
        *(["no credentials"] if not headers and not noted.certificate else []),
        *(["own authority"] if noted.own_authority else []),
        *(["server not verified"] if unverified else []),
        *([f"server's name `{credentials.server_hostname}`"] if credentials.server_hostname else []),
        *([f"through `{credentials.proxy}`"] if credentials.proxy else []),
        *([f"which is shown `{value}`" for value in credentials.proxy.headers.values()] if credentials.proxy else []),
    ]


@pytest.mark.parametrize("row", LISTED, ids=[f"{row.cluster} {row.user} {dict(row.environment)}" for row in LISTED])
async def test_kubeconfig_and_environment_are_read_as_documented(
    row: Row, files: Path, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the page says is what khealth does."""
    for name, value in row.environment.items():
        monkeypatch.setenv(name, value)
    file = files / "config"
    file.write_text(kubeconfig(row))
    assert row.outcome == ", ".join(await outcome(file, tls))


@pytest.mark.parametrize(("exceptions", "host", "used"), NO_PROXY)
def test_no_proxy_is_read_as_documented(
    exceptions: str, host: str, *, used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules are those of Go's httpproxy."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    file = tmp_path / "config"
    file.write_text(kubeconfig(Row("", cluster=f"server: 'https://{host}'")))
    assert str("http://proxy:3128" if used else None) == str(load_credentials("kubeconfig", file, None).proxy)


@pytest.mark.parametrize("entry", [kubeconfig_file.Cluster, kubeconfig_file.User, kubeconfig_file.AuthProvider])
def test_every_field_that_is_read_is_documented(entry: type[msgspec.Struct]) -> None:
    """A field without a row is one that nobody has thought about."""
    text = " ".join(f"{row.cluster}, {row.user}" for row in LISTED)
    assert [] == [name for name in entry.__struct_encode_fields__ if f"{name}:" not in text]
