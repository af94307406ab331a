"""A context of a kubeconfig, or of several: which server it means, and what of its user kubectl would show there."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from khealth_exporter.cluster.credentials.auth_provider import check, id_token
from khealth_exporter.cluster.credentials.exec_plugin import CredentialsError, Exec, issue
from khealth_exporter.cluster.credentials.kubeconfig_file import Cluster, Entry, User, read
from khealth_exporter.cluster.credentials.loaded import Found, Loaded, basic, bearer, loaded, server_url, told_as

_PLUGINS_OWN = "client.authentication.k8s.io/exec"
"""The cluster's extension that is meant for its plug-in."""


_BETA = {f"client.authentication.k8s.io/v1{version}" for version in ("alpha1", "beta1")}
"""The versions of a plug-in's answer in which `interactiveMode` can be left out."""

_SPOKEN = {f"client.authentication.k8s.io/v1{version}" for version in ("", "beta1")}
"""The versions in which kubectl talks to plug-ins."""

_INTERACTIVE = ("Never", "IfAvailable", "Always")

_MORE_THAN_ONE = "more than one of token and username"


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a user has to show, besides the headers that name somebody else."""

    authorization: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    token_file: Path | None = None
    expires: float | None = None


def from_kubeconfig(files: Sequence[Path], context: str, now: Callable[[], float]) -> Loaded:
    """Read a context of a kubeconfig, or of several that are merged as kubectl merges them; raise CredentialsError.

    Of several, those that do not exist are passed over. `now` returns Unix seconds.
    """
    with told_as(f"kubeconfig {_named(files)}, context {context}"):
        merged = read(files)
        if context not in merged.contexts:
            raise CredentialsError("no such context")
        chosen = merged.contexts[context].value
        if chosen.cluster not in merged.clusters:
            raise CredentialsError(f"no cluster {chosen.cluster!r}")
        # kubectl would continue without credentials, or ask a person for a name.
        if chosen.user and chosen.user not in merged.users:
            raise CredentialsError(f"no user {chosen.user!r}")
        user = merged.users.get(chosen.user) or Entry(User(), Path())
        with told_as(f"user {chosen.user}"):
            _check(user.value)
        found = _found(merged.clusters[chosen.cluster], user, chosen.user, now)
        return loaded(replace(found, namespace=chosen.namespace or None))


def current_context(files: Sequence[Path]) -> str:
    """Return the context that kubectl would use: that of the first file which names one; raise CredentialsError."""
    with told_as(f"kubeconfig {_named(files)}"):
        current = read(files).current_context
        if not current:
            raise CredentialsError("no current-context")
        return current


def _named(files: Sequence[Path]) -> str:
    return ":".join(map(str, files))


def _check(user: User) -> None:
    """Raise CredentialsError for what kubectl refuses for any server: see clientcmd/validation.go of client-go."""
    if user.token and (user.username or user.password):
        raise CredentialsError(_MORE_THAN_ONE)
    if user.client_certificate or user.client_certificate_data:
        _one_of("client-certificate", user.client_certificate, user.client_certificate_data)
        _one_of("client-key", user.client_key, user.client_key_data)
        if not user.client_key and not user.client_key_data:
            raise CredentialsError("a client certificate without client-key or client-key-data")
    if user.exec:
        if user.auth_provider:
            raise CredentialsError("both exec and auth-provider")
        _check_plugin(user.exec)
    if not user.as_ and (user.as_uid or user.as_groups or user.as_user_extra):
        raise CredentialsError("as-uid, as-groups or as-user-extra without as")


def _check_plugin(plugin: Exec) -> None:
    if not plugin.command or not plugin.api_version:
        raise CredentialsError("exec: no command, or no apiVersion")
    if not all(variable and variable.name for variable in plugin.env):
        raise CredentialsError("exec: a variable of env has no name")
    # In its beta versions it has a default.
    if not plugin.interactive_mode and plugin.api_version not in _BETA:
        raise CredentialsError("exec: no interactiveMode")
    if plugin.interactive_mode not in {"", *_INTERACTIVE}:
        raise CredentialsError(f"exec: interactiveMode is none of {', '.join(_INTERACTIVE)}")


def _one_of(name: str, path: str, data: str) -> None:
    if path and data:
        raise CredentialsError(f"both {name} and {name}-data")


def _found(cluster: Entry[Cluster], user: Entry[User], name: str, now: Callable[[], float]) -> Found:
    """Return what to show to a cluster: over plain HTTP only the impersonation headers, as kubectl does."""
    told = cluster.value
    if not told.server:
        raise CredentialsError("the cluster has no server")
    _one_of("certificate-authority", told.certificate_authority, told.certificate_authority_data)
    secure = server_url(told.server).scheme == "https"
    authority, shown = None, _Shown()
    if secure:
        authority = _pem(cluster, "certificate-authority", told.certificate_authority, told.certificate_authority_data)
        shown = _shown(user, _for_plugin(told, authority), now)
    if secure and name and shown == _Shown():
        raise CredentialsError(f"user {name} has no token, certificate, username, exec, or auth-provider")
    return Found(
        server=told.server,
        authority=authority,
        verified=not told.insecure_skip_tls_verify,
        certificate=shown.certificate,
        key=shown.key,
        server_hostname=told.tls_server_name or None,
        authorization=shown.authorization,
        impersonation=tuple(_impersonation(user.value)),
        proxy_url=told.proxy_url,
        token_file=shown.token_file,
        expires=shown.expires,
    )


def _shown(entry: Entry[User], cluster: dict[str, Any], now: Callable[[], float]) -> _Shown:
    """Return what kubectl would show: a token, else a name; a plug-in is asked where there is nothing else."""
    user = entry.value
    if user.auth_provider:
        check(user.auth_provider)
    if user.exec and user.exec.api_version not in _SPOKEN:
        raise CredentialsError("exec: apiVersion is neither client.authentication.k8s.io/v1 nor v1beta1")
    if user.token_file and user.username:
        raise CredentialsError(_MORE_THAN_ONE)
    certificate = key = None
    if user.client_certificate or user.client_certificate_data:
        certificate = _pem(entry, "client-certificate", user.client_certificate, user.client_certificate_data)
        key = _pem(entry, "client-key", user.client_key, user.client_key_data)
    if user.token or user.token_file:
        file = entry.directory / user.token_file if user.token_file else None
        return _Shown(_token(user.token, file), certificate, key, file)
    if user.username:
        return _Shown(basic(user.username, user.password), certificate, key)
    if user.auth_provider:
        token = id_token(user.auth_provider, now())
        return _Shown(bearer(token.token), certificate, key, expires=token.expires)
    if user.exec and not certificate:
        issued = issue(user.exec, cluster, entry.directory)
        authorization = bearer(issued.token) if issued.token else None
        return _Shown(authorization, _bytes(issued.certificate), _bytes(issued.key), expires=issued.expires)
    return _Shown(None, certificate, key)


def _token(token: str, file: Path | None) -> str:
    """Return the header of a token; that of the file, if both are there and it can be read."""
    if file is None:
        return bearer(token)
    try:
        return bearer(file.read_text())
    except (OSError, ValueError, CredentialsError):
        if not token:
            raise
        return bearer(token)


def _pem(entry: Entry[Any], name: str, path: str, data: str) -> bytes | None:
    """Return a certificate or a key, given as data or by a path; None if neither is there."""
    if data:
        try:
            return b64decode(data.replace("\r", "").replace("\n", ""), validate=True)
        except ValueError as error:
            raise CredentialsError(f"{name}-data is not in Base64") from error
    return (entry.directory / path).read_bytes() if path else None


def _bytes(text: str | None) -> bytes | None:
    return text.encode() if text else None


def _impersonation(user: User) -> Iterator[tuple[str, str]]:
    """Yield the impersonation headers, as client-go's ImpersonatingRoundTripper; raise CredentialsError."""
    if not user.as_:
        return
    headers = [("Impersonate-User", user.as_)]
    headers += [("Impersonate-Uid", user.as_uid)] if user.as_uid else []
    headers += [("Impersonate-Group", group or "") for group in user.as_groups]
    for key, values in user.as_user_extra.items():
        name = quote(key, safe="!#$&'*+-.^_`|~")
        headers += [(f"Impersonate-Extra-{name}", value or "") for value in values]
    for name, value in headers:
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise CredentialsError(f"{name} has a character that no header can hold")
        yield name, value


def _for_plugin(cluster: Cluster, authority: bytes | None) -> dict[str, Any]:
    """Return a cluster as plug-ins get it: the authority as data, its extension as `config`."""
    told: dict[str, Any] = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": b64encode(authority or b"").decode(),
        "proxy-url": cluster.proxy_url,
        "disable-compression": cluster.disable_compression,
    }
    config = next((held.extension for held in cluster.extensions if held and held.name == _PLUGINS_OWN), None)
    return {name: value for name, value in told.items() if value} | ({"config": config} if config is not None else {})
