"""Turns Kuberhealthy's manifests into khealth's configuration."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from khealth_exporter.cli import go_duration
from khealth_exporter.config import ConfigError, Problem, load, read_all
from khealth_exporter.config.problem import in_order
from khealth_exporter.config.schema import Found
from khealth_exporter.config.value import Value
from khealth_exporter.vocabulary.settings import NAME_LENGTH, format_duration

_KINDS = {
    ("comcast.github.io/v1", "KuberhealthyCheck"): 300.0,
    ("comcast.github.io/v1", "KuberhealthyJob"): 300.0,
    ("kuberhealthy.github.io/v2", "HealthCheck"): 30.0,
}
"""Kuberhealthy's kinds (pkg/apis in v2, pkg/api in v3), and their default timeouts in seconds.

DefaultTimeout in cmd/kuberhealthy/main.go (v2), defaultRunTimeout in internal/kuberhealthy/kuberhealthy.go (v3).
"""
_ONCE = "KuberhealthyJob"
"""The kind that runs once."""
_NAMES = frozenset(name for _, name in _KINDS)
_KEYS = frozenset({"runInterval", "timeout", "podSpec", "extraAnnotations", "extraLabels", "singleRunOnly"})
_INTERVAL = 600.0
"""Default interval of both versions, in seconds; at the same places."""
_LEAST, _LONGEST = 60.0, 7 * 86_400.0
"""Seconds: a timeout is not cut below the first, and no interval of khealth's is longer than the second."""
_OWN_LABELS = re.compile(r"app\.kubernetes\.io/managed-by|khealth\.io(/.*)?")
_KEYS_OF_MODULE = frozenset({"suspend", "suspend_until"})


@dataclass
class Converted:
    """The configuration that comes of a file, and what it could not take over, in lines."""

    routines: dict[str, dict[str, Any]] = field(default_factory=dict)
    places: dict[str, Found] = field(default_factory=dict)
    """Where each routine comes from."""
    warnings: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def as_yaml(self) -> str:
        """Return the configuration file."""
        document = {"modules": {"custom": self.routines}}
        return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)

    def warn(self, at: Found, message: str) -> None:
        """Say what was not taken over."""
        self.warnings.append(at.problem(message))

    def refuse(self, at: Found, message: str) -> None:
        """Say what no check of Kuberhealthy can be."""
        self.problems.append(at.problem(message))


def convert(path: Path) -> Converted:
    """Return what the manifests of a file become; raise ConfigError if it has none, or one that makes no sense."""
    made = Converted()
    for at in _objects(str(path), read_all(path), made):
        named = tuple(_text(at, key) for key in ("apiVersion", "kind"))
        if named in _KINDS:
            _Check(at, made, _KINDS[named[0], named[1]]).convert()
        elif named[1] in _NAMES:
            made.refuse(at, f"no version of Kuberhealthy has {named[1]} in apiVersion {named[0]!r}")
        else:
            made.warn(at, f"{named[1] or 'an object'} is not converted: what a check needs must be in its namespace")
    if not made.routines and not made.problems:
        made.problems.append(Problem(str(path), 0, 0, "", f"has none of {', '.join(sorted(_NAMES))}"))
    if not made.problems:
        made.problems += _rejected(made)
    if made.problems:
        raise ConfigError(in_order(made.problems))
    return made


def _rejected(made: Converted) -> Iterator[Problem]:
    """Yield what khealth itself would say of the configuration, with the place of the manifest."""
    try:
        load(made.as_yaml().encode())
    except ConfigError as error:
        for problem in error.problems:
            label, _, rest = problem.path.removeprefix("modules.custom.").partition(".")
            at = made.places.get(label)
            text = f"{rest}: {problem.message}" if rest else problem.message
            yield at.problem(text) if at else problem


def _objects(file: str, documents: Sequence[Value], made: Converted) -> Iterator[Found]:
    """Yield the objects in YAML documents, and in Lists."""
    for document in documents:
        found = Found(file, "", document)
        items = document.entries.get("items")
        if not isinstance(document.content, dict):
            made.refuse(found, f"must be a mapping, not {document.described()}")
        elif items and _text(found, "kind").endswith("List"):
            inner = items.content if isinstance(items.content, list) else []
            yield from _objects(file, inner, made)
        else:
            yield found


class _Check:
    """One manifest, on its way into the configuration."""

    def __init__(self, at: Found, made: Converted, timeout: float) -> None:
        self._at, self._made, self._timeout = at, made, timeout
        metadata, spec = at.value.entries.get("metadata"), at.value.entries.get("spec")
        self._metadata = at.within("metadata") if metadata else at
        self._spec = at.within("spec") if spec else at

    def convert(self) -> None:
        """Add the routine, or what is wrong with the manifest."""
        name = _text(self._metadata, "name")
        if not name or not self._spec.value.entries.get("podSpec"):
            self._made.refuse(self._at, f"{'spec.podSpec' if name else 'metadata.name'} is missing")
            return
        entries = self._spec.value.entries
        for key in entries.keys() - _KEYS - {"phase"}:
            self._made.warn(self._spec.within(key), f"{key} is not carried over")
        interval, timeout = self._times()
        pod = self._spec.within("podSpec")
        outer = pod.value.entries
        inner = pod.within("spec") if "spec" in outer and "containers" not in outer else pod
        metadata = {key: found for key in ("labels", "annotations") if (found := self._marks(pod, key))}
        routine: dict[str, Any] = {"kind": "check", "protocol": "kuberhealthy"}
        if self._once:
            routine["suspend"] = True
            self._warn(f"ran once; it is suspended, and `khealth once custom/{self._label(name)}` runs it")
        routine |= {"interval": format_duration(interval), "timeout": format_duration(timeout)}
        template = {"kind": "Pod", **({"metadata": metadata} if metadata else {}), "spec": self._pod(inner, timeout)}
        label = self._label(name)
        if label != name:
            self._warn(f"is called {label} here: a routine's name has at most {NAME_LENGTH} characters a-z, 0-9 and -")
        self._made.routines[label] = routine | {"template": template}
        self._made.places[label] = self._at

    def _warn(self, message: str) -> None:
        self._made.warn(self._at, f"{_text(self._metadata, 'name')} {message}")

    def _label(self, name: str) -> str:
        """Return a routine's name that is not taken."""
        plain = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
        plain = plain if plain[:1].isalpha() and plain not in _KEYS_OF_MODULE else f"check-{plain}"
        label, number = plain[:NAME_LENGTH].strip("-"), 1
        while label in self._made.routines:
            number += 1
            end = f"-{number}"
            label = f"{plain[: NAME_LENGTH - len(end)].strip('-')}{end}"
        return label

    @property
    def _once(self) -> bool:
        return _text(self._at, "kind") == _ONCE or self._plain("singleRunOnly") is True

    def _plain(self, key: str) -> object:
        found = self._spec.value.entries.get(key)
        return found.plain() if found else None

    def _times(self) -> tuple[float, float]:
        """Return interval and timeout in seconds; an attempt may take twice its timeout, with its cleanup."""
        timeout = self._duration("timeout", self._timeout)
        interval = self._duration("runInterval", _INTERVAL)
        if self._once:
            # There is no interval to fit into.
            interval = max(interval, 2 * timeout)
        wanted = timeout, interval
        timeout = min(timeout, max(interval / 2, _LEAST), _LONGEST / 2)
        interval = min(max(interval, 2 * timeout), _LONGEST)
        for key, was, became in zip(("timeout", "runInterval"), wanted, (timeout, interval), strict=True):
            if was != became:
                what = f"{key} is {format_duration(became)} instead of {format_duration(was)}"
                self._warn(f"{what}: twice the timeout must fit into the interval, which is at most a week")
        return interval, timeout

    def _duration(self, key: str, default: float) -> float:
        told = self._plain(key)
        if told is None or told == "":
            if key == "timeout" or not self._once:
                self._warn(f"has no {key}: it gets the original's default, {format_duration(default)}")
            return default
        try:
            seconds = go_duration.parse(told if isinstance(told, str) else str(told))
        except ValueError as error:
            self._made.refuse(self._spec.within(key), str(error))
            return default
        if seconds < 1:
            self._made.refuse(self._spec.within(key), "must be at least a second")
            return default
        return round(seconds, 3)

    def _marks(self, pod: Found, key: str) -> dict[str, str]:
        """Return the labels or annotations of the check's pod; the extra ones win, as in the original."""
        given = pod.within("metadata").value.entries.get(key) if "metadata" in pod.value.entries else None
        extra = self._spec.value.entries.get("extraLabels" if key == "labels" else "extraAnnotations")
        found = {name: str(v.plain()) for value in (given, extra) if value for name, v in value.entries.items()}
        for name in [name for name in found if _OWN_LABELS.fullmatch(name)]:
            self._warn(f"loses {key[:-1]} {name}, which khealth sets itself")
            del found[name]
        return found

    def _pod(self, at: Found, timeout: float) -> dict[str, Any]:
        """Return the pod's specification, with what khealth demands of one."""
        plain = at.value.plain()
        if not isinstance(plain, dict) or not plain.get("containers"):
            self._made.refuse(at, "has no containers")
            return {}
        if plain.pop("restartPolicy", "Never") != "Never":
            self._warn("has restartPolicy Never here: a check runs once in an attempt")
        most = int(timeout // 4)
        grace = plain.get("terminationGracePeriodSeconds")
        if isinstance(grace, int) and grace > most:
            plain["terminationGracePeriodSeconds"] = most
            self._warn(f"has terminationGracePeriodSeconds {most} instead of {grace}: at most a quarter of the timeout")
        ending = plain.get("activeDeadlineSeconds")
        if isinstance(ending, int) and ending < timeout:
            del plain["activeDeadlineSeconds"]
            self._warn(f"loses activeDeadlineSeconds {ending}: khealth ends it after its timeout")
        if lacking := ", ".join(_unrestricted(plain)):
            self._warn(f"lacks {lacking}: the Pod Security Standard restricted wants that, in khealth's namespace too")
        namespace, account = _text(self._metadata, "namespace"), plain.get("serviceAccountName")
        if namespace or account:
            ran = f"ran in namespace {namespace}, and " if namespace else ""
            needs = f", where it needs ServiceAccount {account} with its rights" if account else ""
            self._warn(f"{ran}runs in khealth's own namespace{needs}")
        return plain


def _unrestricted(spec: dict[str, Any]) -> Iterator[str]:
    """Yield the settings that the standard demands of every pod, and that this one does not have."""
    whole = _mapping(spec, "securityContext")
    lists = [found for key in ("initContainers", "containers") if isinstance(found := spec.get(key), list)]
    inner = [_mapping(container, "securityContext") for found in lists for container in found]
    if not all(own.get("runAsNonRoot", whole.get("runAsNonRoot")) for own in inner):
        yield "runAsNonRoot"
    if not all(own.get("seccompProfile", whole.get("seccompProfile")) for own in inner):
        yield "seccompProfile"
    if not all(own.get("allowPrivilegeEscalation") is False for own in inner):
        yield "allowPrivilegeEscalation: false"
    if not all(_mapping(own, "capabilities").get("drop") == ["ALL"] for own in inner):
        yield "capabilities.drop: [ALL]"


def _mapping(of: object, key: str) -> dict[str, Any]:
    found = of.get(key) if isinstance(of, dict) else None
    return found if isinstance(found, dict) else {}


def _text(at: Found, key: str) -> str:
    value = at.value.entries.get(key)
    return value.content if value and isinstance(value.content, str) else ""


class _Dumper(yaml.SafeDumper):
    """Writes scripts as they are read, line by line, and no references."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - of none
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)
