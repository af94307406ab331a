"""Credentials: where they are found, that they are kept fresh, and that nothing of them is left behind."""

import asyncio
import base64
import json
import os
import re
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from khealth_exporter.cluster.credentials import credentials as credentials_module
from khealth_exporter.cluster.credentials import exec_plugin, loaded, service_account
from khealth_exporter.cluster.credentials.credentials import (
    Credentials,
    CredentialsError,
    load_credentials,
    plain_credentials,
)
from khealth_exporter.measure.clock import Clock

EPOCH = 1_800_000_000.0
"""Where the tests' clock begins, in Unix seconds."""


@dataclass
class Hands:
    """A clock that a test sets."""

    seconds: float = 0.0

    @property
    def clock(self) -> Clock:
        """The clock that has these hands."""
        return Clock(lambda: self.seconds, lambda: self.seconds + EPOCH)


@pytest.fixture
def hands() -> Hands:
    """Return a clock's hands, at 0."""
    return Hands()


@pytest.fixture(autouse=True)
def private_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Begin without anything that could be found, and end without anything left in the directory of temporary files."""
    for name in (*os.environ,):
        if name.startswith(("KUBE", "HTTP", "http", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(service_account, "SERVICE_ACCOUNT", tmp_path / "serviceaccount")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield temporary
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA()


@dataclass
class Keys:
    """A client's certificate and key, and the authority's certificate, in PEM."""

    certificate: str
    key: str
    authority: str


@pytest.fixture(scope="module")
def keys(authority: trustme.CA) -> Keys:
    """Return a client's keys."""
    return issue_keys(authority, "client@example.com")


def issue_keys(authority: trustme.CA, name: str) -> Keys:
    """Return new keys for a client of that name."""
    issued = authority.issue_cert(name)
    certificate = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return Keys(certificate.decode(), issued.private_key_pem.bytes().decode(), authority.cert_pem.bytes().decode())


def encoded(text: str) -> str:
    """Return text as a kubeconfig holds data."""
    return base64.b64encode(text.encode()).decode()


def kubeconfig(
    user: object = None,
    cluster: Mapping[str, object] | None = None,
    *,
    name: str = "a",
    context: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return a kubeconfig with one context, cluster and user, all of that name."""
    names = {"cluster": name, **({"user": name} if user else {}), **(context or {})}
    server = {"server": f"https://{name}.example.com:6443", **(cluster or {})}
    return {
        "current-context": name,
        "contexts": [{"name": name, "context": names}],
        "clusters": [{"name": name, "cluster": server}],
        "users": [{"name": name, "user": user}] if user else [],
    }


def written(path: Path, content: object) -> Path:
    """Write a kubeconfig."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def load(tmp_path: Path, hands: Hands) -> Callable[..., Credentials]:
    """Return what loads the kubeconfig that is given to it as an object."""

    def load(content: object) -> Credentials:
        return load_credentials("kubeconfig", written(tmp_path / "kubeconfig", content), None, hands.clock)

    return load


def in_pod(directory: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys, host: str = "10.0.0.1") -> Path:
    """Make the process look as if it ran in a pod; return the directory of its service account."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    account = directory / "serviceaccount"
    account.mkdir()
    (account / "token").write_text("first\n")
    (account / "ca.crt").write_text(keys.authority)
    (account / "namespace").write_text("monitoring")
    return account


# --- where credentials are found -------------------------------------------------------------------------------------


def test_an_explicit_kubeconfig_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys) -> None:
    """--kubeconfig wins over $KUBECONFIG and over the pod."""
    in_pod(tmp_path, monkeypatch, keys)
    monkeypatch.setenv("KUBECONFIG", str(written(tmp_path / "environment", kubeconfig(name="environment"))))
    explicit = written(tmp_path / "explicit", kubeconfig(name="explicit"))
    assert load_credentials("auto", explicit, None).server == "https://explicit.example.com:6443"


def test_the_environments_kubeconfig_comes_before_the_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys
) -> None:
    """$KUBECONFIG is somebody's wish; the pod is only a circumstance."""
    in_pod(tmp_path, monkeypatch, keys)
    monkeypatch.setenv("KUBECONFIG", str(written(tmp_path / "environment", kubeconfig(name="environment"))))
    assert load_credentials("auto", None, None).server == "https://environment.example.com:6443"


def test_the_pod_comes_before_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys) -> None:
    """A kubeconfig in an image's home directory is no reason to leave the cluster."""
    in_pod(tmp_path, monkeypatch, keys)
    written(tmp_path / "home" / ".kube" / "config", kubeconfig(name="home"))
    assert load_credentials("auto", None, None).server == "https://10.0.0.1:443"


def test_a_named_context_means_a_kubeconfig_even_in_a_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys
) -> None:
    """A service account has no contexts."""
    in_pod(tmp_path, monkeypatch, keys)
    written(tmp_path / "home" / ".kube" / "config", kubeconfig(name="home"))
    credentials = load_credentials("auto", None, "home")
    assert (credentials.server, credentials.in_cluster) == ("https://home.example.com:6443", False)


def test_the_home_directory_comes_last(tmp_path: Path) -> None:
    """Where nothing else is, kubectl's own file is taken."""
    written(tmp_path / "home" / ".kube" / "config", kubeconfig(name="home"))
    assert load_credentials("auto", None, None).server == "https://home.example.com:6443"


def test_nothing_found_names_all_that_was_tried(tmp_path: Path) -> None:
    """The message tells what to set."""
    with pytest.raises(CredentialsError) as caught:
        load_credentials("auto", None, None)
    for tried in ("--kubeconfig", "$KUBECONFIG", "$KUBERNETES_SERVICE_HOST", f"{tmp_path}/home/.kube/config"):
        assert tried in str(caught.value)


def test_in_cluster_mode_outside_a_pod_is_an_error() -> None:
    """It is said where the service account was looked for."""
    with pytest.raises(CredentialsError, match=r"service account in .*serviceaccount: KUBERNETES_SERVICE_HOST or"):
        load_credentials("in-cluster", None, None)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "no current-context"),
        ("[]", "Expected `object`, got `array`"),
        ("text", "Expected `object`, got `str`"),
        ("a: [", "invalid YAML at line 2, column 1"),
        ("a: &a [*a]", "an anchor contains itself"),
        ("? [a]\n: b", "unknown tag, or a key that is not text .* at line 1, column 3"),
        ("kind: Pod", "kind is not Config"),
        ("apiVersion: v2", "apiVersion is not v1"),
        ("current-context: missing\ncontexts: []", "context missing: no such context"),
        ("contexts: []", "no current-context"),
        ("current-context: a\ncontexts: [{name: a}, {name: a}]", "contexts: duplicate name a"),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: b}}]", "no cluster 'b'"),
        ("users: [{user: {token: 123}}]", "Expected `str`, got `int`"),
        ("clusters: [{cluster: {insecure-skip-tls-verify: 'true'}}]", "Expected `bool`, got `str`"),
    ],
)
def test_a_useless_kubeconfig_is_named_with_the_cause(tmp_path: Path, content: str, cause: str) -> None:
    """Whatever is wrong with a file, the message says which file it is."""
    file = tmp_path / "broken"
    file.write_text(content)
    with pytest.raises(CredentialsError, match=f"kubeconfig {file}.*{cause}"):
        load_credentials("kubeconfig", file, None)


def test_a_missing_kubeconfig_is_an_error(tmp_path: Path) -> None:
    """A file that was asked for must be there."""
    with pytest.raises(CredentialsError, match="missing: no such file"):
        load_credentials("auto", tmp_path / "missing", None)


def test_a_missing_context_is_named(load: Callable[..., Credentials], tmp_path: Path) -> None:
    """The message names the context and the file."""
    load(kubeconfig())
    with pytest.raises(CredentialsError, match=r"kubeconfig, context other: no such context"):
        load_credentials("kubeconfig", tmp_path / "kubeconfig", "other")


def test_several_kubeconfigs_are_merged_as_kubectl_merges_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys
) -> None:
    """The first file's word counts, missing files are passed over, and paths are relative to the file they are in."""
    first = kubeconfig(name="first", context={"namespace": "n"})
    second = kubeconfig({"tokenFile": "token"}, name="second", cluster={"certificate-authority": "ca.crt"})
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "token").write_text("of the second\n")
    (tmp_path / "two" / "ca.crt").write_text(keys.authority)
    paths = [
        written(tmp_path / "one" / "config", first),
        tmp_path / "none",
        written(tmp_path / "two" / "config", second),
    ]
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, paths)))
    assert load_credentials("auto", None, None).server == "https://first.example.com:6443"
    other = load_credentials("auto", None, "second")
    assert (other.server, other._authorization) == ("https://second.example.com:6443", "Bearer of the second")


def merged(directory: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> Credentials:
    """Load what $KUBECONFIG names: files of that content, in directories of their own, in this order."""
    paths = []
    for name, content in files.items():
        (directory / name).mkdir()
        (directory / name / "config").write_text(content)
        paths.append(f"{directory}/{name}/config")
    monkeypatch.setenv("KUBECONFIG", ":".join(paths))
    return load_credentials("auto", None, None)


CLUSTER = (
    "{current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], clusters: [{name: a, cluster: %s}]}"
)
HERE = CLUSTER % "{server: 'https://a.example.com'}"


@pytest.mark.parametrize(
    "empty", ["", "# nothing", "null", "---", "  ", "{}", "users: null\nclusters: []", "users: [null]"]
)
async def test_an_empty_kubeconfig_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    """KUBECONFIG=empty.yaml:kc.yaml, as a tool leaves it that has removed its entries."""
    user = "users: [{name: a, user: {token: T}}]"
    credentials = merged(tmp_path, monkeypatch, first=empty, second=HERE, third=user)
    assert {"Authorization": "Bearer T"} == await credentials.headers()


async def test_paths_are_relative_to_the_file_that_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys, authority: trustme.CA
) -> None:
    """Another file of that name, beside another kubeconfig, is somebody else's."""
    other = issue_keys(authority, "other@example.com")
    for directory, issued in (("d1", other), ("d2", keys)):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "client.crt").write_text(issued.certificate)
        (tmp_path / directory / "client.key").write_text(issued.key)
        (tmp_path / directory / "ca.crt").write_text(keys.authority if directory == "d1" else "none")
    first = CLUSTER % "{server: 'https://a.example.com', certificate-authority: ca.crt}"
    second = "users: [{name: a, user: {client-certificate: client.crt, client-key: client.key}}]"
    for directory, content in (("d1", first), ("d2", second)):
        (tmp_path / directory / "config").write_text(content)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/d1/config:{tmp_path}/d2/config")
    assert "client@example.com" == subject(load_credentials("auto", None, None), authority)


@pytest.mark.parametrize("variable", [":{0}:", "{0}:{0}", "{0}:/nonexistent/config"])
def test_names_that_add_nothing_to_kubeconfig_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Empty ones, the same ones, and those of files that do not exist."""
    file = written(tmp_path / "config", kubeconfig({"token": "T"}))
    monkeypatch.setenv("KUBECONFIG", variable.format(file))
    assert "https://a.example.com:6443" == load_credentials("auto", None, None).server


async def test_first_entry_of_a_name_counts_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is mixed of two users."""
    first = "users: [{name: a, user: {token: first}}]"
    second = "users: [{name: a, user: {token: second, as: jane}}]"
    credentials = merged(tmp_path, monkeypatch, first=first, second=second, third=HERE)
    assert {"Authorization": "Bearer first"} == await credentials.headers()


def test_a_path_of_the_command_line_may_hold_a_colon(tmp_path: Path) -> None:
    """It is one file, as kubectl has it."""
    file = written(tmp_path / "a:b.yaml", kubeconfig({"token": "T"}))
    assert "https://a.example.com:6443" == load_credentials("auto", file, None).server


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(json.loads('{"users": [{"name": "a", "user": {"token": "T"}}]}'), indent="\t"),
        "{\n\tusers: [{name: a,\tuser: {token: T}}]\n}",
        "users: [{name: a, user: {token: T}}]\n---\nusers: [{name: a, user: {token: other}}]",
        "users: [{name: a, user: {token: !!binary VA==}}]",
        "\ufeffusers: [{name: a, user: {token: T}}]",
    ],
)
async def test_a_kubeconfig_is_read_as_kubectls_yaml_library_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Tabs between tokens, several documents, and so on."""
    assert {"Authorization": "Bearer T"} == await merged(tmp_path, monkeypatch, first=text, second=HERE).headers()


@pytest.mark.parametrize("name", ["2024-01-02", "10:30", "1.2.3", "n", "=", "NaN"])
async def test_a_name_that_looks_like_another_value_is_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """PyYAML's own rules make a date of some."""
    text = HERE.replace("user: a", f"user: {name}")
    user = f"users: [{{name: {name}, user: {{token: {name}}}}}]"
    credentials = merged(tmp_path, monkeypatch, first=text, second=user)
    assert {"Authorization": f"Bearer {name}"} == await credentials.headers()


# --- what a kubeconfig says ------------------------------------------------------------------------------------------


async def test_a_token_is_shown_as_a_bearer_token(load: Callable[..., Credentials]) -> None:
    """A token goes into the Authorization header."""
    assert await load(kubeconfig({"token": "secret"})).headers() == {"Authorization": "Bearer secret"}


async def test_username_and_password_are_shown_as_basic_auth(load: Callable[..., Credentials]) -> None:
    """An authenticating proxy may want them."""
    credentials = load(kubeconfig({"username": "me", "password": "secret"}))
    assert await credentials.headers() == {"Authorization": f"Basic {encoded('me:secret')}"}


@pytest.mark.parametrize("token", ["a\nb", "ä", "a\x00b", " \n"])
def test_a_token_that_no_header_can_hold_is_an_error(load: Callable[..., Credentials], token: str) -> None:
    """It would otherwise break every request."""
    with pytest.raises(CredentialsError, match="token"):
        load(kubeconfig({"token": token}))


async def test_nobody_is_asked_for_who_has_no_user(load: Callable[..., Credentials]) -> None:
    """`kubectl proxy` needs no credentials."""
    credentials = load(kubeconfig(cluster={"server": "http://127.0.0.1:8001"}))
    assert (credentials.server, credentials.tls) == ("http://127.0.0.1:8001", None)
    assert await credentials.headers() == {}


@pytest.mark.parametrize(
    "user",
    [
        {"auth-provider": {"name": "azure"}},
        {"auth-provider": {"name": "gcp"}},
        {"auth-provider": {"name": "oidc", "config": {"id-token": "no token"}}},
        {"password": "secret"},
        {"token": ""},
        {"tokenFile": "missing"},
        {"client-certificate": "missing"},
        {"client-certificate-data": "!"},
        {"client-certificate-data": encoded("no certificate")},
    ],
)
def test_a_user_who_has_nothing_to_show_is_an_error(load: Callable[..., Credentials], user: object) -> None:
    """Nothing ever goes out anonymously that was meant to have a name."""
    with pytest.raises(CredentialsError, match=r"kubeconfig, context a: "):
        load(kubeconfig(user))


def test_a_user_who_is_missing_is_an_error(load: Callable[..., Credentials]) -> None:
    """The context names a user that is not in the file."""
    with pytest.raises(CredentialsError, match="no user 'missing'"):
        load(kubeconfig(context={"user": "missing"}))


@pytest.mark.parametrize(
    "server", ["", None, "/", "example.com/path", "ftp://a", "https://", "https://[::1", "https://a:b"]
)
def test_a_cluster_without_a_server_is_an_error(load: Callable[..., Credentials], server: object) -> None:
    """Without one kubectl would go to http://localhost:8080."""
    with pytest.raises(CredentialsError, match=r"kubeconfig, context a: "):
        load(kubeconfig(cluster={"server": server}))


def test_a_servers_path_is_kept_and_its_slash_is_not(load: Callable[..., Credentials]) -> None:
    """Rancher serves several clusters under one address."""
    server = "https://rancher.example.com/k8s/clusters/x"
    assert load(kubeconfig(cluster={"server": f"{server}/"})).server == server


def test_the_namespace_and_the_tls_server_name_are_the_contexts(load: Callable[..., Credentials]) -> None:
    """Both are for others to use."""
    credentials = load(kubeconfig(context={"namespace": "n"}, cluster={"tls-server-name": "kubernetes"}))
    assert (credentials.namespace, credentials.server_hostname) == ("n", "kubernetes")


def test_a_message_never_quotes_secrets(load: Callable[..., Credentials]) -> None:
    """Neither a value nor the line of the file in which something is wrong."""
    user = {"token": "", "auth-provider": {"name": "oidc", "config": {"client-secret": "TOPSECRET"}}}
    with pytest.raises(CredentialsError) as caught:
        load(kubeconfig(user))
    assert "TOPSECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "users: [{user: {token: TOPSECRET, as-groups: TOPSECRET}}]",
        "users: [{user: {token: TOPSECRET, password: [}}]",
        "users:\n- user:\n\ttoken: TOPSECRET",
        "users: [{user: {token: !!int TOPSECRET}}]",
        "users: [{user: {password: !TOPSECRET}}]",
        "users: [{user: {password: !TOPSECRET x}}]",
        "users:\n- user:\n    token: !TOPSECRET",
        "users: [{user: {password: !a!TOPSECRET x}}]",
        "users: [{user: {password: !<TOPSECRET> x}}]",
        "users: [{user: {password: !!TOPSECRET x}}]",
        "users: [{user: {password: *TOPSECRET}}]",
        "users: [{user: {password: &TOPSECRET a, token: &TOPSECRET b}}]",
        "users: [{user: {password: {&TOPSECRET , }}}]",
        "users: [{user: {password: %TOPSECRET}}]",
        "users: [{user: {password: @TOPSECRET}}]",
        'users: [{user: {password: "\\TOPSECRET"}}]',
        "users: [{user: {password: |TOPSECRET}}]",
        "users: [{user: {? [TOPSECRET] : b}}]",
        "users: [{user: {exec: {interactiveMode: [TOPSECRET]}}}]",
        "users: [{name: a, user: {token: TOPSECRET}}, {name: a}]",
        HERE.replace("https://", "https://me:TOPSECRET@a b"),
        HERE.replace("https://a.example.com", "https://me:TOPSECRET/x@a"),
        HERE.replace("https://", "ftp://me:TOPSECRET@"),
        CLUSTER % "{server: 'https://a', proxy-url: 'http://me:TOPSECRET/x@proxy'}",
        CLUSTER % "{server: 'https://a', proxy-url: 'socks5://me:TOPSECRET@proxy'}",
        CLUSTER % "{server: 'https://a', certificate-authority-data: TOPSECRET.}",
    ],
)
def test_no_message_about_a_kubeconfig_quotes_it(tmp_path: Path, content: str) -> None:
    """Whatever is wrong, and wherever: values, lines of the file, and URLs hold secrets."""
    file = tmp_path / "config"
    file.write_text(content.replace("user: a}", "user: ''}"))
    with pytest.raises(CredentialsError) as caught:
        load_credentials("kubeconfig", file, None)
    assert "TOPSECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "user",
    [
        {"tokenFile": "eyJhbGciOi.eyJhYmM.TOPSECRET"},
        {"client-certificate": "c", "client-key": "-----BEGIN PRIVATE KEY-----\nTOPSECRET\n-----END PRIVATE KEY-----"},
        {"token": "TOPSECRET\n1"},
        {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "x", "interactiveMode": "TOPSECRET"}},
        {"exec": {"apiVersion": "TOPSECRET", "command": "x", "interactiveMode": "Never"}},
        {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "x", "env": [{"value": "TOPSECRET"}]}},
    ],
)
def test_no_message_about_a_user_quotes_what_stands_in_the_wrong_place(
    load: Callable[..., Credentials], user: object
) -> None:
    """A token in the place of a path, for one."""
    with pytest.raises(CredentialsError) as caught:
        load(kubeconfig(user))
    assert "TOPSECRET" not in str(caught.value)


def test_message_names_place_of_what_is_no_yaml(tmp_path: Path) -> None:
    """So that it is found although it is not shown; with what helps."""
    file = tmp_path / "config"
    file.write_text("users:\n- user:\n    password: !S3cretPass\n")
    with pytest.raises(CredentialsError) as caught:
        load_credentials("kubeconfig", file, None)
    assert str(caught.value).endswith("(quote a value that begins with !) at line 3, column 15")


async def test_another_users_plugin_concerns_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in kubectl, which checks only the context's own user."""
    own = "users: [{name: a, user: {token: T}}]"
    other = "users: [{name: b, user: {exec: {apiVersion: x, command: x, interactiveMode: X, env: [null]}}}]"
    credentials = merged(tmp_path, monkeypatch, first=HERE, second=own, third=other)
    assert "https://a.example.com" == credentials.server


async def test_an_id_token_that_was_replaced_is_read_in_time(
    load: Callable[..., Credentials], tmp_path: Path, hands: Hands
) -> None:
    """What kubectl writes to the kubeconfig is read; khealth itself refreshes nothing, and says when it has expired."""

    def user(end: float) -> dict[str, Any]:
        claims = base64.urlsafe_b64encode(json.dumps({"exp": EPOCH + end}).encode()).decode().rstrip("=")
        config = {"idp-issuer-url": "https://idp", "client-id": "k", "id-token": f"e30.{claims}.c2ln"}
        return {"auth-provider": {"name": "oidc", "config": config}}

    credentials = load(kubeconfig(user(600)))
    first = await credentials.headers()
    written(tmp_path / "kubeconfig", kubeconfig(user(1200)))
    hands.seconds = 545
    assert first != await credentials.headers()
    hands.seconds = 1201
    with pytest.raises(CredentialsError, match="the id-token has expired"):
        await credentials.headers()


# --- proxies ---------------------------------------------------------------------------------------------------------


def test_a_kubeconfigs_proxy_is_taken(load: Callable[..., Credentials]) -> None:
    """proxy-url wins over the environment and its exceptions."""
    credentials = load(kubeconfig(cluster={"server": "https://127.0.0.1", "proxy-url": "http://proxy:3128"}))
    assert str(credentials.proxy) == "http://proxy:3128"


def test_a_proxy_that_is_not_understood_is_an_error(load: Callable[..., Credentials]) -> None:
    """Every request would fail otherwise."""
    with pytest.raises(CredentialsError, match="proxy-url: a SOCKS proxy is not supported"):
        load(kubeconfig(cluster={"proxy-url": "socks5://proxy:1080"}))


@pytest.mark.parametrize(
    "proxy",
    [
        "http://joe:TOPSECRET@[::1]x:80",
        "http://joe:TOPSECRET@a..é:3128",
        "http://joe:TOPSECRET@[::1:80",
        "http://joe:TOPSECRET@h:port",
        "http://joe:TOPSECRET@h:0",
        "http://joe:TOPSECRET@h:65536",
        "http://joe:TOPSECRET@",
        "http://joe:TOPSECRET@:80",
        "http://joe:TOPSECRET€@h:80",
        "http://joe:TOPSECRET%zz@h:80",
        "http://joe:TOPSECRET|@h:80",
        "http://joe:TOPSECRET @h:80",
        "ftp://joe:TOPSECRET@h:80",
    ],
)
@pytest.mark.parametrize("source", ["proxy-url", "HTTPS_PROXY"])
def test_a_proxy_that_no_request_can_name_is_an_error_at_the_start(
    load: Callable[..., Credentials], monkeypatch: pytest.MonkeyPatch, source: str, proxy: str
) -> None:
    """Not one of each request; without its password."""
    monkeypatch.setenv("HTTPS_PROXY", proxy if source == "HTTPS_PROXY" else "")
    with pytest.raises(CredentialsError, match=f"{source}: not (a|the) URL") as caught:
        load(kubeconfig(cluster={"proxy-url": proxy if source == "proxy-url" else ""}))
    assert "TOPSECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("server", "proxy"),
    [
        ("https://a.example.com", "http://proxy:3128"),
        ("https://192.0.2.1", "http://proxy:3128"),
        ("https://a.internal", None),
        ("https://10.1.2.3:6443", None),
        ("https://127.0.0.1:6443", None),
        ("https://[::1]:6443", None),
        ("https://localhost:6443", None),
    ],
)
def test_the_environments_proxy_has_its_exceptions(
    *, load: Callable[..., Credentials], monkeypatch: pytest.MonkeyPatch, server: str, proxy: str | None
) -> None:
    """As kubectl: by name, by network, and never for the machine itself."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", ".internal, 10.0.0.0/8, nonsense/8")
    assert str(load(kubeconfig(cluster={"server": server})).proxy) == str(proxy)


# --- certificates ----------------------------------------------------------------------------------------------------


def handshake(client: ssl.SSLContext, authority: trustme.CA, name: str) -> Any:
    """Let a client meet a server that demands a certificate; return the client's as the server has seen it."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    return meet(client, server, name)[1].getpeercert()


def meet(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Let a client and a server complete a handshake; return both ends."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(down, up, server_hostname=name), server.wrap_bio(up, down, server_side=True)
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends


def subject(credentials: Credentials, authority: trustme.CA, name: str = "a.example.com") -> str:
    """Return the user that a server reads from the credentials' certificate."""
    assert credentials.tls is not None
    certificate = handshake(credentials.tls, authority, name)
    return str(certificate["subjectAltName"][0][1])


def test_certificates_inside_the_kubeconfig_are_used(
    load: Callable[..., Credentials], authority: trustme.CA, keys: Keys
) -> None:
    """The server sees the user's certificate, and the user trusts the server's."""
    user = {"client-certificate-data": encoded(keys.certificate), "client-key-data": encoded(keys.key)}
    credentials = load(kubeconfig(user, cluster={"certificate-authority-data": encoded(keys.authority)}))
    assert subject(credentials, authority) == "client@example.com"


def with_files(directory: Path, keys: Keys) -> dict[str, Any]:
    """Return a kubeconfig whose certificates are in files beside it."""
    (directory / "client.crt").write_text(keys.certificate)
    (directory / "client.key").write_text(keys.key)
    (directory / "ca.crt").write_text(keys.authority)
    user = {"client-certificate": "client.crt", "client-key": "client.key"}
    return kubeconfig(user, cluster={"certificate-authority": "ca.crt"})


def test_certificates_in_files_are_relative_to_the_kubeconfig(
    load: Callable[..., Credentials], authority: trustme.CA, keys: Keys, tmp_path: Path
) -> None:
    """It does not matter where khealth is started."""
    assert subject(load(with_files(tmp_path, keys)), authority) == "client@example.com"


async def test_certificates_that_were_replaced_are_read_by_renew(
    load: Callable[..., Credentials], authority: trustme.CA, keys: Keys, tmp_path: Path
) -> None:
    """A new context, so that no connection of the old certificate is used again."""
    credentials = load(with_files(tmp_path, keys))
    before = credentials.tls
    with_files(tmp_path, issue_keys(authority, "another@example.com"))
    await credentials.renew()
    assert credentials.tls is not before
    assert subject(credentials, authority) == "another@example.com"


async def test_certificates_that_are_the_same_keep_their_context(
    load: Callable[..., Credentials], keys: Keys, tmp_path: Path
) -> None:
    """Connections that are kept alive stay good after a renewal that changed only a token."""
    credentials = load(with_files(tmp_path, keys))
    before = credentials.tls
    await credentials.renew()
    assert credentials.tls is before


def test_an_intermediate_authority_or_a_servers_own_certificate_is_trusted(
    load: Callable[..., Credentials], authority: trustme.CA
) -> None:
    """As Go does it, and Python since 3.13: what is trusted need not be a root."""
    intermediate = authority.create_child_ca()
    issued = intermediate.issue_cert("a.example.com")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(server)
    for trusted in (intermediate.cert_pem, issued.cert_chain_pems[0]):
        tls = load(kubeconfig({"token": "t"}, {"certificate-authority-data": encoded(trusted.bytes().decode())})).tls
        assert tls is not None
        assert meet(tls, server, "a.example.com")[0].version()


def test_a_server_of_another_authority_is_not_trusted(load: Callable[..., Credentials], keys: Keys) -> None:
    """Only the cluster's own authority counts."""
    credentials = load(kubeconfig({"token": "t"}, cluster={"certificate-authority-data": encoded(keys.authority)}))
    with pytest.raises(ssl.SSLCertVerificationError):
        subject(credentials, trustme.CA())


def test_verification_can_be_switched_off(load: Callable[..., Credentials]) -> None:
    """insecure-skip-tls-verify is the user's own risk."""
    cluster: dict[str, Any] = {"insecure-skip-tls-verify": True}
    tls = load(kubeconfig({"token": "t"}, cluster)).tls
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_NONE, False)


def test_authorities_without_a_key_identifier_are_accepted(load: Callable[..., Credentials]) -> None:
    """Many clusters' are older than Python's strictness."""
    tls = load(kubeconfig({"token": "t"})).tls
    assert tls is not None
    assert not tls.verify_flags & ssl.VERIFY_X509_STRICT


def test_an_encrypted_key_is_an_error_and_asks_nobody(load: Callable[..., Credentials], keys: Keys) -> None:
    """OpenSSL would ask the terminal for the password, and wait forever."""
    encryption = serialization.BestAvailableEncryption(b"password")
    key = serialization.load_pem_private_key(keys.key.encode(), None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    user = {"client-certificate-data": encoded(keys.certificate), "client-key-data": encoded(key.decode())}
    with pytest.raises(CredentialsError, match="its certificates cannot be used"):
        load(kubeconfig(user))


def test_a_certificate_without_content_is_an_error(load: Callable[..., Credentials], tmp_path: Path) -> None:
    """A file that is in the middle of its replacement is no reason to go without a name."""
    (tmp_path / "empty").touch()
    with pytest.raises(CredentialsError, match="its certificates cannot be used"):
        load(kubeconfig({"client-certificate": "empty", "client-key": "empty"}))


def test_keys_inside_the_kubeconfig_are_never_on_the_disk(
    load: Callable[..., Credentials], keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL reads keys from files: these are in memory, and gone as soon as they are read."""
    paths: list[str] = []
    read = ssl.SSLContext.load_cert_chain

    def spy(context: ssl.SSLContext, certificate: str, key: str, *, password: str) -> None:
        paths.extend(str(Path(path).readlink()) for path in (certificate, key))
        read(context, certificate, key, password=password)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
    load(kubeconfig({"client-certificate-data": encoded(keys.certificate), "client-key-data": encoded(keys.key)}))
    assert ["/memfd:khealth (deleted)"] * 2 == paths
    assert [] == [
        link for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and "memfd" in str(link.readlink())
    ]


async def test_keys_inside_the_kubeconfig_can_be_read_again(load: Callable[..., Credentials], keys: Keys) -> None:
    """A renewal needs nothing of the first reading."""
    user = {"client-certificate-data": encoded(keys.certificate), "client-key-data": encoded(keys.key)}
    credentials = load(kubeconfig(user))
    await credentials.renew()
    await credentials.renew()


# --- in a pod --------------------------------------------------------------------------------------------------------


async def test_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys) -> None:
    """Server, authority, token and namespace are the pod's."""
    in_pod(tmp_path, monkeypatch, keys)
    credentials = load_credentials("in-cluster", None, None)
    assert (credentials.server, credentials.namespace) == ("https://10.0.0.1:443", "monitoring")
    assert credentials.in_cluster
    assert await credentials.headers() == {"Authorization": "Bearer first"}


def test_a_pods_server_may_have_an_ipv6_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys) -> None:
    """The environment gives it without brackets."""
    in_pod(tmp_path, monkeypatch, keys, host="::1")
    assert load_credentials("auto", None, None).server == "https://[::1]:443"


def test_a_pod_without_a_namespace_file_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys) -> None:
    """A projected token does not need a projected namespace."""
    (in_pod(tmp_path, monkeypatch, keys) / "namespace").unlink()
    assert load_credentials("auto", None, None).namespace is None


async def test_a_token_that_rotates_is_read_again_after_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys, hands: Hands
) -> None:
    """The kubelet replaces it long before it expires."""
    account = in_pod(tmp_path, monkeypatch, keys)
    credentials = load_credentials("auto", None, None, hands.clock)
    (account / "token").write_text("second")
    hands.seconds = 59
    assert await credentials.headers() == {"Authorization": "Bearer first"}
    hands.seconds = 61
    assert await credentials.headers() == {"Authorization": "Bearer second"}


@pytest.mark.parametrize("content", [None, "", b"\xff"])
async def test_a_token_that_cannot_be_read_leaves_the_old_one(
    *, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys, hands: Hands, content: str | bytes | None
) -> None:
    """It may be in the middle of being replaced; the next minute will tell."""
    file = in_pod(tmp_path, monkeypatch, keys) / "token"
    credentials = load_credentials("auto", None, None, hands.clock)
    file.unlink()
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    hands.seconds = 61
    assert await credentials.headers() == {"Authorization": "Bearer first"}
    file.write_text("third")
    hands.seconds = 122
    assert await credentials.headers() == {"Authorization": "Bearer third"}


async def test_a_401_reads_the_token_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Keys, hands: Hands
) -> None:
    """The minute is not waited for."""
    account = in_pod(tmp_path, monkeypatch, keys)
    credentials = load_credentials("auto", None, None, hands.clock)
    (account / "token").write_text("second")
    await credentials.renew()
    assert await credentials.headers() == {"Authorization": "Bearer second"}


async def test_a_kubeconfigs_token_file_rotates_too(
    load: Callable[..., Credentials], tmp_path: Path, hands: Hands
) -> None:
    """And it wins over a token that stands beside it, as in kubectl."""
    (tmp_path / "token").write_text("first\n")
    credentials = load(kubeconfig({"tokenFile": "token", "token": "stale"}))
    assert await credentials.headers() == {"Authorization": "Bearer first"}
    (tmp_path / "token").write_text("second\n")
    hands.seconds = 61
    assert await credentials.headers() == {"Authorization": "Bearer second"}


# --- plug-ins --------------------------------------------------------------------------------------------------------

API_VERSION = "client.authentication.k8s.io/v1"


class Plugin:
    """A plug-in of which a test says what it prints, and which counts how often it was run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "plugin"
        self.runs = directory / "runs"
        self.does('echo "nothing was said yet" >&2; exit 1')

    def does(self, script: str) -> "Plugin":
        """Make it run that script."""
        self.file.write_text(f'#!/bin/sh\necho "$KUBERNETES_EXEC_INFO" >> {self.runs}\n{script}\n')
        self.file.chmod(0o700)
        return self

    def gives(self, **status: object) -> "Plugin":
        """Make it print a credential with that status."""
        credential = {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status}
        return self.does(f"cat <<'END'\n{json.dumps(credential)}\nEND")

    @property
    def asked(self) -> list[Any]:
        """What it was asked, each time."""
        return [json.loads(line) for line in self.runs.read_text().splitlines()]

    def user(self, **fields: object) -> dict[str, Any]:
        """Return the user who has this plug-in."""
        return {"exec": {"apiVersion": API_VERSION, "command": "./plugin", "interactiveMode": "Never", **fields}}


@pytest.fixture
def command(tmp_path: Path) -> Plugin:
    """Return a plug-in in the kubeconfig's directory."""
    return Plugin(tmp_path)


def at(seconds: float) -> str:
    """Return a time of the tests' clock as plug-ins write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH + seconds))


async def test_a_plugins_token_is_used(load: Callable[..., Credentials], command: Plugin) -> None:
    """And the plug-in is asked in its own version, without a terminal."""
    command.gives(token="secret")
    assert await load(kubeconfig(command.user())).headers() == {"Authorization": "Bearer secret"}
    assert command.asked == [{"apiVersion": API_VERSION, "kind": "ExecCredential", "spec": {"interactive": False}}]


def test_a_plugins_certificate_is_used(
    load: Callable[..., Credentials], command: Plugin, authority: trustme.CA, keys: Keys
) -> None:
    """The server sees the certificate that the plug-in gave."""
    command.gives(clientCertificateData=keys.certificate, clientKeyData=keys.key)
    credentials = load(kubeconfig(command.user(), cluster={"certificate-authority-data": encoded(keys.authority)}))
    assert subject(credentials, authority) == "client@example.com"


async def test_a_plugins_new_certificate_makes_a_new_context(
    load: Callable[..., Credentials], command: Plugin, authority: trustme.CA, keys: Keys
) -> None:
    """What a renewal brings is what the server sees."""
    command.gives(clientCertificateData=keys.certificate, clientKeyData=keys.key)
    credentials = load(kubeconfig(command.user(), cluster={"certificate-authority-data": encoded(keys.authority)}))
    other = issue_keys(authority, "another@example.com")
    command.gives(clientCertificateData=other.certificate, clientKeyData=other.key)
    await credentials.renew()
    assert subject(credentials, authority) == "another@example.com"


def test_a_plugin_is_not_asked_where_kubectl_would_not_ask_it(
    load: Callable[..., Credentials], command: Plugin
) -> None:
    """A token of the user's own comes first."""
    assert load(kubeconfig({**command.user(), "token": "own"}))._authorization == "Bearer own"
    assert not command.runs.exists()


def test_a_plugin_gets_its_arguments_and_environment(load: Callable[..., Credentials], command: Plugin) -> None:
    """As the kubeconfig says, beside the process's own environment."""
    credential = {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": {"token": "$1-$VARIABLE-$HOME"}}
    command.does(f"cat <<END\n{json.dumps(credential)}\nEND")
    user = command.user(args=["one"], env=[{"name": "VARIABLE", "value": "two"}])
    assert load(kubeconfig(user))._authorization == f"Bearer one-two-{os.environ['HOME']}"


def test_a_plugin_is_told_of_the_cluster_if_it_asks(
    load: Callable[..., Credentials], command: Plugin, tmp_path: Path, keys: Keys
) -> None:
    """With the authority as data, wherever it is kept, and with the cluster's own extension."""
    (tmp_path / "ca.crt").write_text(keys.authority)
    command.gives(token="secret")
    extensions = [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}]
    cluster: dict[str, Any] = {"certificate-authority": "ca.crt", "extensions": extensions}
    load(kubeconfig(command.user(provideClusterInfo=True), cluster))
    assert command.asked[0]["spec"]["cluster"] == {
        "server": "https://a.example.com:6443",
        "certificate-authority-data": encoded(keys.authority),
        "config": {"audience": "x"},
    }


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("echo 'please log in' >&2; exit 3", "exited with 3; run it by hand"),
        ("exit 1", "exited with 1; run it by hand"),
        ("echo s3cr >&2; echo s3cr; exit 4", "exited with 4; run it by hand"),
        ("echo s3cr", "printed no ExecCredential"),
        ('echo \'{"apiVersion":"s3cr"}\'', "did not answer in"),
        ("kill -9 $$", "exited with -9"),
        ("true", "printed no ExecCredential"),
        ("echo '{'", "printed no ExecCredential"),
        ("echo '[]'", "printed no ExecCredential"),
        ("printf '\\377'", "printed no ExecCredential"),
    ],
)
def test_a_plugin_that_fails_is_an_error_without_its_own_words(
    load: Callable[..., Credentials], command: Plugin, script: str, cause: str
) -> None:
    """Nothing goes on without credentials; what a plug-in prints may be a secret."""
    command.does(script)
    with pytest.raises(CredentialsError, match=f"context a: exec: ./plugin {cause}") as caught:
        load(kubeconfig(command.user()))
    assert not re.search("s3cr|log in", str(caught.value))


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ({}, "neither a token nor a certificate"),
        ({"token": ""}, "neither a token nor a certificate"),
        ({"token": None}, "neither a token nor a certificate"),
        ({"token": 5}, "printed no ExecCredential"),
        ({"clientCertificateData": "x"}, "only one of certificate and key"),
        ({"clientKeyData": "x"}, "only one of certificate and key"),
        ({"token": "x", "clientKeyData": "x"}, "only one of certificate and key"),
        ({"clientCertificateData": "x", "clientKeyData": "x"}, "its certificates cannot be used"),
        ({"token": "x", "expirationTimestamp": "tomorrow"}, "printed no ExecCredential"),
    ],
)
def test_a_plugin_that_gives_nothing_of_use_is_an_error(
    load: Callable[..., Credentials], command: Plugin, status: dict[str, object], cause: str
) -> None:
    """Every way of giving nothing is told."""
    command.gives(**status)
    with pytest.raises(CredentialsError, match=cause):
        load(kubeconfig(command.user()))


def test_a_plugin_of_another_version_is_an_error(load: Callable[..., Credentials], command: Plugin) -> None:
    """As in kubectl."""
    command.gives(token="secret")
    user = command.user(apiVersion="client.authentication.k8s.io/v1beta1")
    with pytest.raises(CredentialsError, match=r"did not answer in client\.authentication\.k8s\.io/v1beta1"):
        load(kubeconfig(user))


@pytest.mark.parametrize("command_line", ["khealth-no-such-plugin", "./no-such-plugin", "/"])
def test_a_plugin_that_is_not_there_is_an_error_with_its_hint(
    load: Callable[..., Credentials], command: Plugin, command_line: str
) -> None:
    """The kubeconfig may say how to install it."""
    user = command.user(command=command_line, installHint="install it from example.com")
    with pytest.raises(CredentialsError, match=f"exec: {command_line} cannot be run.*install it from example.com"):
        load(kubeconfig(user))


@pytest.mark.parametrize("section", [[], "x", {}, {"command": "x"}, {"command": 5, "apiVersion": API_VERSION}])
def test_a_malformed_plugin_section_is_an_error(load: Callable[..., Credentials], section: object) -> None:
    """Whatever stands there."""
    with pytest.raises(CredentialsError, match=r"kubeconfig.*exec"):
        load(kubeconfig({"exec": section}))


def test_a_plugin_that_wants_a_person_is_an_error(load: Callable[..., Credentials], command: Plugin) -> None:
    """Nobody sits at khealth's terminal."""
    with pytest.raises(CredentialsError, match="wants to talk to a person"):
        load(kubeconfig(command.user(interactiveMode="Always")))


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for something that happens outside, for a minute at most."""
    patience = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < patience
        time.sleep(0.01)


def is_gone(process: int) -> bool:
    """Tell whether a process has ended, or waits only for its parent to notice."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_plugin_that_hangs_is_ended_with_all_that_it_started(
    load: Callable[..., Credentials], command: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grandchild that keeps the output open cannot keep khealth waiting."""
    child = tmp_path / "child"
    command.does(f"sleep 1000 & echo $! > {child}.new; mv {child}.new {child}; wait")
    communicate = subprocess.Popen.communicate

    def impatient(process: subprocess.Popen[bytes], *, timeout: float) -> tuple[bytes, bytes]:
        assert timeout == exec_plugin.PATIENCE
        wait_until(child.exists)
        return communicate(process, timeout=0.01)

    monkeypatch.setattr(subprocess.Popen, "communicate", impatient)
    with pytest.raises(CredentialsError, match=r"exec: \./plugin did not end within 30 s"):
        load(kubeconfig(command.user()))
    process = int(child.read_text())
    wait_until(lambda: is_gone(process))


async def test_a_plugin_is_asked_again_before_its_credentials_expire(
    load: Callable[..., Credentials], command: Plugin, hands: Hands
) -> None:
    """A minute before; until then it is left alone."""
    command.gives(token="first", expirationTimestamp=at(600))
    credentials = load(kubeconfig(command.user()))
    command.gives(token="second", expirationTimestamp=at(1200))
    hands.seconds = 539
    assert await credentials.headers() == {"Authorization": "Bearer first"}
    hands.seconds = 541
    assert await credentials.headers() == {"Authorization": "Bearer second"}
    assert await credentials.headers() == {"Authorization": "Bearer second"}
    assert len(command.asked) == 2


async def test_short_lived_credentials_are_renewed_at_half_of_their_life(
    load: Callable[..., Credentials], command: Plugin, hands: Hands
) -> None:
    """A minute ahead would be always."""
    command.gives(token="first", expirationTimestamp=at(60))
    credentials = load(kubeconfig(command.user()))
    hands.seconds = 29
    await credentials.headers()
    assert len(command.asked) == 1
    hands.seconds = 31
    await credentials.headers()
    assert len(command.asked) == 2


async def test_credentials_without_an_end_are_renewed_only_after_a_401(
    load: Callable[..., Credentials], command: Plugin, hands: Hands
) -> None:
    """The plug-in did not say when it wants to be asked again."""
    command.gives(token="first")
    credentials = load(kubeconfig(command.user()))
    hands.seconds = 1e6
    await credentials.headers()
    assert len(command.asked) == 1
    await credentials.renew()
    assert len(command.asked) == 2


async def test_a_plugin_that_fails_later_leaves_the_old_credentials_while_they_hold(
    load: Callable[..., Credentials], command: Plugin, hands: Hands
) -> None:
    """An identity provider may be away for a moment; when they have expired it is an error."""
    command.gives(token="first", expirationTimestamp=at(600))
    credentials = load(kubeconfig(command.user()))
    command.does("echo 'the provider is away' >&2; exit 1")
    hands.seconds = 550
    assert await credentials.headers() == {"Authorization": "Bearer first"}
    hands.seconds = 555
    assert await credentials.headers() == {"Authorization": "Bearer first"}
    assert len(command.asked) == 2
    hands.seconds = 601
    with pytest.raises(CredentialsError, match="exited with 1"):
        await credentials.headers()
    command.gives(token="second")
    assert await credentials.headers() == {"Authorization": "Bearer second"}


# --- renewal ---------------------------------------------------------------------------------------------------------


async def test_all_who_renew_at_once_share_one_reading(load: Callable[..., Credentials], command: Plugin) -> None:
    """A hundred requests that are answered 401 ask the plug-in once."""
    command.gives(token="first")
    credentials = load(kubeconfig(command.user()))
    await asyncio.gather(*(credentials.renew() for _ in range(100)))
    assert len(command.asked) == 2


class Gate:
    """A reading of credentials that waits until a test lets it go on."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.readings = 0

    def __call__(self) -> loaded.Loaded:
        self.readings += 1
        self.began.set()
        assert self.open.wait(20)
        return loaded.Loaded("https://a", authorization=str(self.readings))

    def close(self) -> None:
        """Let the next reading wait."""
        self.began.clear()
        self.open.clear()


async def test_a_renewal_goes_on_when_one_who_waits_gives_up() -> None:
    """Another request waits for it too, and nothing is read twice at once."""
    gate = Gate()
    credentials = Credentials(gate, Clock())
    gate.close()
    first, second = (asyncio.ensure_future(credentials.renew()) for _ in range(2))
    assert await asyncio.to_thread(gate.began.wait, 20)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.open.set()
    await second
    assert (await credentials.headers(), gate.readings) == ({"Authorization": "2"}, 2)


async def test_a_renewal_that_nobody_waits_for_any_longer_is_not_in_vain() -> None:
    """What it brings is there for the next request."""
    gate = Gate()
    credentials = Credentials(gate, Clock())
    gate.close()
    only = asyncio.ensure_future(credentials.renew())
    assert await asyncio.to_thread(gate.began.wait, 20)
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    gate.open.set()
    await credentials.renew()
    assert (await credentials.headers(), gate.readings) == ({"Authorization": "2"}, 2)


async def test_a_renewal_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may be on a network file system that is away."""
    gate = Gate()
    credentials = Credentials(gate, Clock())
    gate.close()
    monkeypatch.setattr(credentials_module, "_PATIENCE", 0.01)
    with pytest.raises(CredentialsError, match=r"could not be read within 0\.01 s"):
        await credentials.renew()
    gate.open.set()
    monkeypatch.setattr(credentials_module, "_PATIENCE", 20)
    await credentials.renew()
    assert gate.readings == 2


async def test_a_renewal_never_leads_to_another_cluster(load: Callable[..., Credentials], tmp_path: Path) -> None:
    """Who moves the context to another server restarts khealth; no token goes where it was not meant to go."""
    credentials = load(kubeconfig({"token": "first"}))
    written(tmp_path / "kubeconfig", kubeconfig({"token": "second"}, cluster={"server": "https://b.example.com"}))
    with pytest.raises(CredentialsError, match=r"the cluster is at https://b\.example\.com now"):
        await credentials.renew()
    assert await credentials.headers() == {"Authorization": "Bearer first"}


async def test_a_renewal_keeps_the_context_that_it_began_with(load: Callable[..., Credentials], tmp_path: Path) -> None:
    """`kubectl config use-context` is not meant for khealth."""
    credentials = load(kubeconfig({"token": "first"}))
    both, other = kubeconfig({"token": "second"}), kubeconfig({"token": "other"}, name="b")
    for part in ("contexts", "clusters", "users"):
        both[part] += other[part]
    written(tmp_path / "kubeconfig", {**both, "current-context": "b"})
    await credentials.renew()
    assert await credentials.headers() == {"Authorization": "Bearer second"}


async def test_plain_credentials_need_no_reading() -> None:
    """For what is not a real cluster."""
    credentials = plain_credentials("http://127.0.0.1:8080/", token="t", namespace="n")
    await credentials.renew()
    assert (credentials.server, credentials.namespace) == ("http://127.0.0.1:8080", "n")
    assert await credentials.headers() == {"Authorization": "Bearer t"}


# --- anything at all -------------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers(-1, 9) | st.sampled_from(["", "a", "https://a", "/", "x y", "YQ=="])
KEYS = st.sampled_from(
    [
        "name",
        "user",
        "cluster",
        "context",
        "server",
        "token",
        "tokenFile",
        "exec",
        "command",
        "apiVersion",
        "auth-provider",
        "config",
        "namespace",
        "username",
        "password",
        "client-key-data",
        "client-certificate-data",
        "certificate-authority",
        "certificate-authority-data",
        "proxy-url",
        "tls-server-name",
        "insecure-skip-tls-verify",
        "extensions",
    ]
)
FIELDS = st.dictionaries(KEYS, SCALARS | st.dictionaries(KEYS, SCALARS, max_size=3), max_size=4)
NAMED = st.fixed_dictionaries({"name": st.just("a")}, optional={"context": FIELDS, "cluster": FIELDS, "user": FIELDS})
LISTS = SCALARS | st.lists(NAMED | SCALARS | FIELDS, max_size=2)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.fixed_dictionaries(
        {"current-context": st.just("a") | SCALARS}, optional={"contexts": LISTS, "clusters": LISTS, "users": LISTS}
    ),
    cluster=FIELDS,
    user=FIELDS,
)
def test_no_kubeconfig_can_crash(
    tmp_path: Path, content: dict[str, Any], cluster: dict[str, Any], user: object
) -> None:
    """It is either of use or a CredentialsError."""
    whole = {**kubeconfig(user, cluster), **content}
    for one in (content, whole, kubeconfig(user, cluster)):
        with suppress(CredentialsError):
            load_credentials("kubeconfig", written(tmp_path / "kubeconfig", one), None)
