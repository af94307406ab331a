"""Kubeconfig files: decoded and merged as kubectl does."""

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import yaml

from khealth_exporter.cluster.credentials.exec_plugin import CredentialsError, Exec
from khealth_exporter.kubectl_yaml import KubectlLoader

T = TypeVar("T")


class Extension(msgspec.Struct):
    """Data of other programs; a cluster's may be meant for its plug-in."""

    name: str = ""
    extension: Any = None


class Cluster(msgspec.Struct, rename="kebab"):
    """An entry of `clusters`."""

    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    proxy_url: str = ""
    disable_compression: bool = False
    extensions: list[Extension | None] = []


class AuthProvider(msgspec.Struct):
    """The `auth-provider` section of a user."""

    name: str = ""
    config: dict[str, str] = {}


class User(msgspec.Struct, rename="kebab"):
    """An entry of `users`."""

    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    username: str = ""
    password: str = ""
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    as_: str = msgspec.field(name="as", default="")
    as_uid: str = ""
    as_groups: list[str | None] = []
    as_user_extra: dict[str, list[str | None]] = {}
    auth_provider: AuthProvider | None = None
    exec: Exec | None = None
    extensions: list[Extension | None] = []


class Context(msgspec.Struct):
    """An entry of `contexts`."""

    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _NamedCluster(msgspec.Struct):
    name: str = ""
    cluster: Cluster = msgspec.field(default_factory=Cluster)


class _NamedUser(msgspec.Struct):
    name: str = ""
    user: User = msgspec.field(default_factory=User)


class _NamedContext(msgspec.Struct):
    name: str = ""
    context: Context = msgspec.field(default_factory=Context)


class _File(msgspec.Struct, rename="kebab"):
    kind: str = ""
    api_version: str = msgspec.field(name="apiVersion", default="")
    current_context: str = ""
    clusters: list[_NamedCluster | None] = []
    users: list[_NamedUser | None] = []
    contexts: list[_NamedContext | None] = []


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """An entry, and the directory of its file, which its paths are relative to."""

    value: T
    directory: Path


@dataclass(slots=True)
class Kubeconfig:
    """The entries of one file or of several."""

    current_context: str = ""
    clusters: dict[str, Entry[Cluster]] = field(default_factory=dict)
    users: dict[str, Entry[User]] = field(default_factory=dict)
    contexts: dict[str, Entry[Context]] = field(default_factory=dict)


def read(files: Sequence[Path]) -> Kubeconfig:
    """Read and merge files: the first entry of a name counts, as a whole; files that do not exist are passed over.

    Raise CredentialsError, or OSError or ValueError where a file cannot be read.
    """
    merged, found = Kubeconfig(), False
    for path in files:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        found = True
        try:
            _merge(merged, _decode(data), path.absolute().parent)
        except CredentialsError as error:
            raise CredentialsError(f"{path}: {error}" if len(files) > 1 else str(error)) from error
    if not found:
        raise CredentialsError("no such file")
    return merged


def _merge(merged: Kubeconfig, file: _File, directory: Path) -> None:
    merged.current_context = merged.current_context or file.current_context
    clusters = ((named.name, named.cluster) for named in file.clusters if named)
    users = ((named.name, named.user) for named in file.users if named)
    contexts = ((named.name, named.context) for named in file.contexts if named)
    _add("clusters", merged.clusters, clusters, directory)
    _add("users", merged.users, users, directory)
    _add("contexts", merged.contexts, contexts, directory)


def _add(section: str, entries: dict[str, Entry[T]], named: Iterable[tuple[str, T]], directory: Path) -> None:
    own: set[str] = set()
    for name, value in named:
        if name in own:
            raise CredentialsError(f"{section}: duplicate name {name}")
        own.add(name)
        entries.setdefault(name, Entry(value, directory))


def _decode(data: bytes) -> _File:
    """Return what a file holds; raise CredentialsError, whose message never quotes the file: it holds secrets."""
    try:
        document = _parse(data)
        file = msgspec.convert({} if document is None else _as_go(document), _File)
    except msgspec.ValidationError as error:
        raise CredentialsError(str(error)) from error
    except (RecursionError, TypeError) as error:
        raise CredentialsError("an anchor contains itself, or a key is not text") from error
    if file.kind not in {"", "Config"} or file.api_version not in {"", "v1"}:
        raise CredentialsError("kind is not Config, or apiVersion is not v1")
    return file


def _as_go(value: Any) -> Any:  # noqa: ANN401 - a document may hold anything
    """Return a document as Go reads it into its types: null is absent, and every key is text."""
    if isinstance(value, dict):
        return {
            name if isinstance(name, str) else json.dumps(name): held if name == "extension" else _as_go(held)
            for name, held in value.items()
            if held is not None
        }
    if isinstance(value, list):
        return [_as_go(held) for held in value]
    return value.decode() if isinstance(value, bytes) else value


def _parse(data: bytes) -> Any:  # noqa: ANN401 - a document may hold anything
    """Return the first document of a file in JSON or YAML; None if there is none."""
    # YAML contains JSON, but for characters that are escaped as a pair of surrogates.
    with suppress(ValueError, RecursionError):
        return json.loads(data)
    try:
        loader = _Loader(data)
        try:
            return loader.get_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        # PyYAML's own words quote tags and aliases: a password that begins with ! or * is one of these.
        raise CredentialsError(f"{_PROBLEMS.get(type(error), 'invalid YAML')}{where}") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise CredentialsError("neither YAML nor JSON") from error


_PROBLEMS: dict[type[yaml.YAMLError], str] = {
    yaml.composer.ComposerError: "unknown alias or duplicate anchor (quote a value that begins with * or &)",
    yaml.constructor.ConstructorError: "unknown tag, or a key that is not text (quote a value that begins with !)",
}

_SafeLoader: Any = getattr(yaml, "CSafeLoader", KubectlLoader)


class _Loader(_SafeLoader):  # type: ignore[misc] # libyaml's loader is not in every build of PyYAML
    """Tells text from other values as kubectl's YAML library does: a date, a time, or `=` is text.

    Unlike there, `y` and `n` are text: a name may be one of them, and no other program writes these for true and false.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name


# As `resolve` in sigs.k8s.io/yaml/goyaml.v2.
for _tag, _pattern, _first in (
    ("bool", r"(?:yes|true|on|no|false|off)\Z", "yYnNtTfFoO"),
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0x[0-9a-fA-F_]+|0b[01_]+|0o?[0-7_]+|0|[1-9][0-9_]*)\Z", "-+0123456789"),
    ("float", r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)\Z", "-+.0123456789"),
    ("merge", r"<<\Z", "<"),
):
    _flags = re.IGNORECASE if _tag in {"bool", "float"} else 0
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern, _flags), list(_first))
