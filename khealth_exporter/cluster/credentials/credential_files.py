"""Where credentials are found: a pod's service account, or a kubeconfig; the official client reads either."""

import hashlib
import ipaddress
import os
import re
import ssl
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, incluster_config, kube_config

from khealth_exporter.cluster.credentials.exec_plugin import CredentialsError, issue

_IN_POD: Any = incluster_config
_KUBECONFIG: Any = kube_config
"""The official client's two readers, which have no types."""

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, its authority and its namespace."""

_MALFORMED = (ConfigException, OSError, yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError)
"""What the official client raises for the many ways in which a file can be wrong."""

_STRONGER = ("token", "client-certificate", "client-certificate-data", "username")
"""What a user may have that kubectl prefers to a plug-in."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that one reading of credentials gave.

    `material` differs where the certificates do. `token_file` is what the token in `authorization` came from;
    `expires`, in Unix seconds, is when a plug-in has to be asked again. `in_cluster` tells that they are a pod's own.
    """

    server: str
    tls: ssl.SSLContext | None = None
    material: bytes = b""
    namespace: str | None = None
    proxy: str | None = None
    server_hostname: str | None = None
    authorization: str | None = None
    token_file: Path | None = None
    expires: float | None = None
    in_cluster: bool = False


@dataclass(frozen=True, slots=True)
class _Perishable:
    """What of a user will not stay as it is."""

    token_file: Path | None = None
    expires: float | None = None


def from_service_account() -> Loaded:
    """Read what the kubelet gave to this pod; raise CredentialsError."""
    token = SERVICE_ACCOUNT / "token"
    configuration = Configuration()
    with _told_as(f"service account in {SERVICE_ACCOUNT}"):
        authority = SERVICE_ACCOUNT / "ca.crt"
        _IN_POD.InClusterConfigLoader(str(token), str(authority), environ=os.environ).load_and_set(configuration)
        namespace = None
        with suppress(FileNotFoundError):
            namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip() or None
        return replace(_loaded(configuration, namespace, _Perishable(token_file=token)), in_cluster=True)


def from_kubeconfig(paths: str, context: str) -> Loaded:
    """Read a context of a kubeconfig, or of several that are merged as kubectl merges them; raise CredentialsError.

    `paths` are separated by colons; of several, those that do not exist are passed over.
    """
    # The official client writes keys into files that outlive a kill: they get a directory that no other user can read,
    # and which is gone as soon as the keys are in memory.
    with _told_as(f"kubeconfig {paths}, context {context}"), tempfile.TemporaryDirectory(prefix="khealth-") as private:
        merged = _merger(paths).config
        chosen = merged["contexts"].get_with_name(context)["context"]
        cluster = merged["clusters"].get_with_name(chosen["cluster"])["cluster"]
        # The official client would pass over a user who is not there.
        named = chosen.safe_get("user")
        user = merged["users"].get_with_name(named)["user"] if named else None
        perishable = (
            _prepare(user.value, cluster.value, Path(user.path).absolute().parent, Path(private))
            if user
            else _Perishable()
        )
        configuration = Configuration(host=cluster["server"])
        # Without a base, paths are relative to the file that each is in.
        loader = _KUBECONFIG.KubeConfigLoader(merged, context, config_base_path=None, temp_file_path=private)
        loader.load_and_set(configuration)
        if user and not configuration.api_key and not configuration.cert_file:
            raise CredentialsError(f"user {named} has nothing to show, only {', '.join(user.value)}")
        return _loaded(configuration, chosen.safe_get("namespace"), perishable, proxied="proxy-url" in cluster)


def current_context(paths: str) -> str:
    """Return the context that kubectl would use: that of the first file which names one; raise CredentialsError."""
    with _told_as(f"kubeconfig {paths}"):
        # The official client would take the last file's.
        named = (content.get("current-context") for content in _merger(paths).config_files.values())
        context = next(filter(None, named), None)
        if context is None:
            raise CredentialsError("no current-context")
        return str(context)


def bearer(token: str) -> str:
    """Return the header that shows a token, however its file ends; raise CredentialsError for what is none."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise CredentialsError("the token is empty, or holds what no token can")
    return f"Bearer {token}"


def _merger(paths: str) -> Any:  # noqa: ANN401 - it has no types
    merger = _KUBECONFIG.KubeConfigMerger(paths)
    if merger.config is None:
        raise CredentialsError("no such file")
    return merger


def _prepare(fields: dict[str, Any], cluster: dict[str, Any], directory: Path, private: Path) -> _Perishable:
    """Put what a plug-in gives in its place in a user's fields: the official client would run it without any bound.

    `directory` is what paths are relative to.
    """
    if fields.get("tokenFile"):
        fields.pop("token", None)  # kubectl prefers the file, the official client the token.
        return _Perishable(token_file=directory / fields["tokenFile"])
    section = fields.pop("exec", None)
    if section is None or any(fields.get(name) for name in _STRONGER):
        return _Perishable()
    issued = issue(section, cluster, directory)
    if issued.token:
        fields["token"] = issued.token
    if issued.certificate and issued.key:
        for name, content in (("client-certificate", issued.certificate), ("client-key", issued.key)):
            (private / name).write_text(content)
            fields[name] = str(private / name)
    return _Perishable(expires=issued.expires)


def _loaded(
    configuration: Configuration, namespace: str | None, perishable: _Perishable, *, proxied: bool = False
) -> Loaded:
    """Return what the official client has read, checked for what it does not check."""
    server = urlsplit(configuration.host)
    if server.scheme not in {"http", "https"} or not server.hostname:
        raise CredentialsError(f"{configuration.host} is no URL of a server")
    authorization = configuration.api_key.get("BearerToken")
    scheme, _, token = (authorization or "").partition(" ")
    tls = _tls(configuration) if server.scheme == "https" else None
    return Loaded(
        server=configuration.host.rstrip("/"),
        tls=tls,
        material=_material(configuration) if tls else b"",
        namespace=namespace,
        proxy=_proxy(configuration, server.hostname, proxied=proxied),
        server_hostname=configuration.tls_server_name if tls else None,
        authorization=bearer(token) if scheme.lower() == "bearer" else authorization,
        token_file=perishable.token_file,
        expires=perishable.expires,
    )


def _tls(configuration: Configuration) -> ssl.SSLContext:
    """Return how to talk TLS; it trusts the kubeconfig's authority alone, the machine's own where there is none."""
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        # Python 3.13 is stricter than Go: it refuses authorities without a key identifier, as many clusters have.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.set_alpn_protocols(["http/1.1"])
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if configuration.cert_file:
            # Without a password OpenSSL would ask for that of an encrypted key, on the terminal.
            context.load_cert_chain(configuration.cert_file, configuration.key_file, password="")
    except ssl.SSLError as error:
        raise CredentialsError(f"its certificates cannot be used: {error}") from error
    return context


def _material(configuration: Configuration) -> bytes:
    """Return a digest of all certificates, which tells whether any was replaced."""
    files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    contents = [Path(file).read_bytes() if file else b"" for file in files]
    return hashlib.sha256(repr((configuration.verify_ssl, contents)).encode()).digest()


def _proxy(configuration: Configuration, host: str, *, proxied: bool) -> str | None:
    """Return the kubeconfig's proxy, or else the environment's where it does not except this host, as kubectl does."""
    proxy = configuration.proxy or None
    if proxy is None or (not proxied and _excepted(host, configuration.no_proxy or "")):
        return None
    if urlsplit(proxy).scheme not in {"http", "https"}:
        raise CredentialsError(f"a proxy of kind {urlsplit(proxy).scheme or '?'}: only http and https are understood")
    return str(proxy)


def _excepted(host: str, exceptions: str) -> bool:
    """Tell whether no environment's proxy is for this host: by name, by address, by network; never for the machine."""
    if host == "localhost" or urllib.request.proxy_bypass(host):
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return address.is_loopback or any(_holds(network.strip(), address) for network in exceptions.split(","))
    return False


def _holds(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    with suppress(ValueError):
        return "/" in network and address in ipaddress.ip_network(network, strict=False)
    return False


@contextmanager
def _told_as(where: str) -> Iterator[None]:
    """Say of whatever goes wrong inside where it was."""
    try:
        yield
    except (CredentialsError, *_MALFORMED) as error:
        # The official client's own messages may quote a whole user, secrets and all.
        cause = re.sub(r"/\{.*\}", "", str(error), flags=re.DOTALL) or type(error).__name__
        raise CredentialsError(f"{where}: {cause}") from error
