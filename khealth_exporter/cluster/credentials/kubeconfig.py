"""A kubeconfig, or several, as the official client reads them: it is imported only where there is one."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, kube_config

from khealth_exporter.cluster.credentials.exec_plugin import CredentialsError, issue
from khealth_exporter.cluster.credentials.loaded import Found, Loaded, loaded, told_as

_KUBECONFIG: Any = kube_config
"""The official client's reader, which has no types."""

_MALFORMED = (ConfigException, yaml.YAMLError, TypeError, AttributeError, LookupError)
"""What the official client raises for the many ways in which a file can be wrong."""

_STRONGER = ("token", "client-certificate", "client-certificate-data", "username")
"""What a user may have that kubectl prefers to a plug-in."""


@dataclass(frozen=True, slots=True)
class _Perishable:
    """What of a user will not stay as it is."""

    token_file: Path | None = None
    expires: float | None = None


def from_kubeconfig(paths: str, context: str) -> Loaded:
    """Read a context of a kubeconfig, or of several that are merged as kubectl merges them; raise CredentialsError.

    `paths` are separated by colons; of several, those that do not exist are passed over.
    """
    # The official client writes keys into files that outlive a kill: they get a directory that no other user can read,
    # and which is gone as soon as the keys are in memory.
    where = f"kubeconfig {paths}, context {context}"
    with told_as(where, *_MALFORMED), tempfile.TemporaryDirectory(prefix="khealth-") as private:
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
        return loaded(_found(configuration, chosen, cluster, perishable))


def _found(configuration: Configuration, chosen: Any, cluster: Any, perishable: _Perishable) -> Found:  # noqa: ANN401 - they have no types
    return Found(
        server=configuration.host,
        authority=configuration.ssl_ca_cert,
        verified=configuration.verify_ssl,
        certificate=configuration.cert_file,
        key=configuration.key_file,
        server_hostname=configuration.tls_server_name,
        authorization=configuration.api_key.get("BearerToken"),
        proxy=configuration.proxy,
        unproxied=configuration.no_proxy or "",
        own_proxy="proxy-url" in cluster,
        namespace=chosen.safe_get("namespace"),
        token_file=perishable.token_file,
        expires=perishable.expires,
    )


def current_context(paths: str) -> str:
    """Return the context that kubectl would use: that of the first file which names one; raise CredentialsError."""
    with told_as(f"kubeconfig {paths}", *_MALFORMED):
        # The official client would take the last file's.
        named = (content.get("current-context") for content in _merger(paths).config_files.values())
        context = next(filter(None, named), None)
        if context is None:
            raise CredentialsError("no current-context")
        return str(context)


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
