"""Reads the configuration file and the command line into the Config that khealth runs with."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import StringConstraints, TypeAdapter, ValidationError

from khealth_exporter.canaries.agents.settings import AgentsSettings
from khealth_exporter.config import packages
from khealth_exporter.config.config import CANARY_IMAGE, Bound, Config, lacks_image, suspended_with
from khealth_exporter.config.document import Document, parse, read
from khealth_exporter.config.problem import ConfigError, Problem, in_order
from khealth_exporter.config.schema import Found, missing_in, validated
from khealth_exporter.config.selection import Candidate, select
from khealth_exporter.config.value import Place, Value
from khealth_exporter.core.routine import Routine, RoutineConfig, RoutineSettings
from khealth_exporter.modules import MODULES, Module
from khealth_exporter.vocabulary.settings import (
    NAME_LENGTH,
    CanarySettings,
    KuberhealthySettings,
    MeasurementSettings,
    ModuleSettings,
    Name,
    Settings,
    format_duration,
)

_KEYS = ("namespace", "measurement", "canary", "agents", "kuberhealthy", "modules")
_OF_MODULE = frozenset(ModuleSettings.model_fields)
"""The keys next to a module's routines; no routine can have these names."""
_FLAGS = {"poll_interval": "--poll-interval", "pod_ttl": "--pod-ttl"}

_Part = TypeVar("_Part", bound=Settings)
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_NAMESPACE: TypeAdapter[str] = TypeAdapter(
    Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
)


def load(  # noqa: PLR0913 - each is one flag of the command line
    path: Path | bytes | None,
    *,
    namespace: str | None = None,
    poll_interval: float | None = None,
    pod_ttl: float | None = None,
    only: Sequence[str] = (),
    modules: Sequence[Module] = MODULES,
    bound: Bound | None = None,
) -> Config:
    """Return the configuration of a file, or the defaults if `path` is None; raise ConfigError with every error.

    Instead of a path, the content of a file can be given.

    If a module lists routines, exactly these run. A module that lists none, or that the file does not mention, runs
    all its kinds with defaults, each under its own name; one that the file does not mention only if the module is a
    default. A kind with a required setting, and one that is opt-in, never runs unless it is listed.

    The other arguments come from the command line. `namespace`, and `poll_interval` and `pod_ttl` (in seconds, for
    every routine that has the key), override the file. If `only` names modules or routines (MODULE, ROUTINE or
    MODULE/ROUTINE), exactly these run, whether or not they run by default.

    With `bound`, for a running khealth, another namespace is an error too, and so is an empty file: `{}` says that the
    defaults are wanted.
    """
    overrides = {"poll_interval": poll_interval, "pod_ttl": pod_ttl}
    document = parse(path, "") if isinstance(path, bytes) else read(path) if path else Document("")
    if path and bound and (document.root is None or document.root.content is None):
        raise ConfigError((Problem(str(path), 0, 0, "", "is empty: write {} to run the defaults"),))
    reader = _Reader(document, {key: value for key, value in overrides.items() if value is not None}, modules, bound)
    config = reader.config(namespace, only)
    if reader.problems:
        raise ConfigError(in_order(reader.problems))
    return config


@dataclass(frozen=True, slots=True)
class _Section:
    """What the file says about one module."""

    module: Module
    mentioned: bool
    settings: ModuleSettings
    routines: Mapping[str, Found]

    def candidates(
        self, listed: Mapping[tuple[str, str], RoutineConfig | None], lacks: "_Lacks"
    ) -> Iterator[Candidate]:
        """Yield the routines that the file lists, and the kinds that it does not list."""
        name, implied = self.module.name, not self.routines
        for label in self.routines:
            routine = listed[name, label]
            yield Candidate(name, label, listed=True, enabled=True, missing=lacks(routine.kind) if routine else ())
        for kind in self.module.routines:
            if kind.name not in self.routines:
                missing = (*missing_in(kind.Settings), *lacks(kind))
                wanted = self.mentioned or (self.module.default and not missing)
                enabled = implied and wanted and kind.name not in self.module.opt_in
                yield Candidate(name, kind.name, implied=implied, enabled=enabled, missing=missing)


_Lacks = Callable[[type[Routine[Any]]], tuple[str, ...]]
"""Tells which keys outside of a kind's own settings it lacks."""


class _Reader:
    """Reads one document, and collects the errors in it."""

    def __init__(
        self,
        document: Document,
        overrides: Mapping[str, float],
        modules: Sequence[Module],
        bound: Bound | None,
    ) -> None:
        self._file, self._digest, self._bound = document.file, document.digest, bound
        self._root = Found(document.file, "", document.root or Value(Place(1, 1), None))
        self._overrides = overrides
        self._modules, self._installed = modules, tuple[Module, ...]()
        self.problems = list(document.problems)

    def config(self, namespace: str | None, only: Sequence[str]) -> Config:
        """Return the content of the document; use it only if there are no problems."""
        parts = self._parts(self._root, _KEYS)
        self._installed, problems = packages.named(parts.get("modules"), self._modules)
        self._modules = (*self._modules, *self._installed)
        self.problems += problems
        sections = {section.module.name: section for section in self._sections(parts.get("modules"))}
        # Every listed routine is checked, even if another one is named on the command line.
        listed = {(s.module.name, label): self._listed(s, label) for s in sections.values() for label in s.routines}
        canary = self._part(CanarySettings, parts.get("canary"))
        agents = self._part(AgentsSettings, parts.get("agents"))

        def lacks(kind: type[Routine[Any]]) -> tuple[str, ...]:
            return (CANARY_IMAGE,) if lacks_image(kind, canary.image, agents) else ()

        candidates = (c for section in sections.values() for c in section.candidates(listed, lacks))
        selection = select(list(candidates), only)
        self.problems += selection.problems
        chosen = (
            listed[c.module, c.label] if c.listed else self._unlisted(sections[c.module], c.label)
            for c in selection.chosen
        )
        return Config(
            self._bounded(self._namespace(namespace, parts.get("namespace")), parts.get("namespace")),
            self._part(MeasurementSettings, parts.get("measurement")),
            tuple(routine for routine in chosen if routine),
            self._file,
            self._digest,
            selection.left_out,
            canary,
            agents,
            self._part(KuberhealthySettings, parts.get("kuberhealthy")),
            self._installed,
        )

    def _parts(self, found: Found, known: Iterable[str] | None) -> dict[str, Found]:
        """Return the entries of a mapping, and report those that are not `known`; nothing counts as empty."""
        if not isinstance(found.value.content, dict | None):
            self.problems.append(found.problem(f"must be a mapping, not {found.value.described()}"))
        keys = found.value.entries
        self.problems += (found.unknown(key, known) for key in keys if known is not None and key not in known)
        return {key: found.within(key) for key in keys if known is None or key in known}

    def _namespace(self, flag: str | None, found: Found | None) -> str | None:
        name = flag if flag is not None else found.value.content if found else None
        if name is None:
            return None
        try:
            return _NAMESPACE.validate_python(name, strict=True)
        except ValidationError:
            rule = "must be at most 63 lowercase letters, digits or '-', and start and end with a letter or digit"
            if flag is not None or found is None:
                self.problems.append(Problem("--namespace", 0, 0, "", f"invalid namespace name {flag!r}: {rule}"))
            else:
                written = found.value.described().removeprefix("the string ")
                self.problems.append(found.problem(f"invalid namespace name {written}: {rule}"))
            return None

    def _bounded(self, namespace: str | None, found: Found | None) -> str | None:
        """Return the namespace, and report it if it is not the one of the running khealth."""
        bound, at = self._bound, found or self._root
        if bound and (namespace or bound.chosen) != bound.namespace:
            what = f"cannot change from {bound.namespace!r} to {namespace or bound.chosen!r} without a restart"
            self.problems.append(replace(at.problem(what), path="namespace"))
        return namespace

    def _part(self, model: type[_Part], found: Found | None) -> _Part:
        """Return the settings of a part that is no module; defaults if it is not there or is invalid."""
        settings, problems = validated(model, found) if found else (None, ())
        self.problems += problems
        return settings or model()

    def _sections(self, found: Found | None) -> Iterator[_Section]:
        parts = self._parts(found, [module.name for module in self._modules]) if found else {}
        for module in self._modules:
            part = parts.get(module.name)
            routines = (
                {key: value for key, value in self._parts(part, None).items() if key not in _OF_MODULE} if part else {}
            )
            yield _Section(module, part is not None, self._of_module(part) if part else ModuleSettings(), routines)

    def _of_module(self, section: Found) -> ModuleSettings:
        """Return the values of the keys next to a module's routines."""
        entries = {key: value for key, value in section.value.entries.items() if key in _OF_MODULE}
        own = Found(section.file, section.path, Value(section.value.place, entries))
        settings, problems = validated(ModuleSettings, own)
        self.problems += problems
        if settings is None:
            return ModuleSettings()
        self.problems += self._endless(settings, own)
        return settings

    def _listed(self, section: _Section, label: str) -> RoutineConfig | None:
        found = section.routines[label]
        try:
            _NAME.validate_python(label)
        except ValidationError:
            rule = f"at most {NAME_LENGTH} lowercase letters, digits or '-', start with a letter and not end with '-'"
            self.problems.append(found.problem(f"invalid routine name: must be {rule}", found.value.key))
            return None
        kind = self._kind(section.module, label, found)
        return self._routine(section, label, kind, found) if kind else None

    def _unlisted(self, section: _Section, label: str) -> RoutineConfig | None:
        (kind,) = (kind for kind in section.module.routines if kind.name == label)
        path = f"modules.{section.module.name}.{label}"
        return self._routine(section, label, kind, Found(self._file, path, Value(self._root.value.place, None)))

    def _routine(self, section: _Section, label: str, kind: type[Routine[Any]], found: Found) -> RoutineConfig | None:
        entries = {key: value for key, value in found.value.entries.items() if key != "kind"}
        content = entries if isinstance(found.value.content, dict) else found.value.content
        own = Found(found.file, found.path, Value(found.value.place, content, found.value.text))
        settings, problems = validated(kind.Settings, own)
        self.problems += problems
        if settings is None:
            return None
        settings = settings.with_known(self._overrides)
        self.problems += self._impossible(settings, own)
        routine = suspended_with(RoutineConfig(section.module.name, label, kind, settings), section.settings)
        self.problems += packages.unusable(routine, found) if section.module in self._installed else ()
        return routine

    def _kind(self, module: Module, label: str, found: Found) -> type[Routine[Any]] | None:
        kinds = {kind.name: kind for kind in module.routines}
        key = found.value.entries.get("kind")
        if key is None and label in kinds:
            return kinds[label]
        known = ", ".join(sorted(kinds))
        if key is None:
            what = f"key `kind` is required, because the module has no kind named {label}; known kinds: {known}"
            self.problems.append(found.problem(what))
        elif not isinstance(key.content, str) or key.content not in kinds:
            what = f"must be a kind of this module, not {key.described()}; known kinds: {known}"
            self.problems.append(found.problem(what, key.place, "kind"))
        elif label in kinds and key.content != label:
            what = f"must be {label} or omitted, because a kind of this module has the same name as the routine"
            self.problems.append(found.problem(what, key.place, "kind"))
        else:
            return kinds[key.content]
        return None

    def _impossible(self, settings: RoutineSettings, found: Found) -> Iterator[Problem]:
        """Yield the errors of settings that are valid on their own, but not together."""
        yield from self._endless(settings, found)
        known = type(settings).model_fields
        hold = f" + pod_ttl ({format_duration(settings.hold)})" if "pod_ttl" in known else ""
        if {"poll_interval", "pod_ttl"} <= known.keys() and settings.pause > settings.hold:
            pause, ttl = format_duration(settings.pause), format_duration(settings.hold)
            message = f"poll_interval ({pause}) exceeds pod_ttl ({ttl})"
            yield self._combination(found, ("poll_interval", "pod_ttl"), message)
        total = 2 * settings.timeout + settings.hold
        if total > settings.interval:
            message = (
                f"2 * timeout ({format_duration(settings.timeout)}){hold} is {format_duration(total)}, "
                f"which exceeds interval ({format_duration(settings.interval)}): attempts would overlap"
            )
            yield self._combination(found, ("pod_ttl", "timeout", "interval"), message)

    def _endless(self, settings: RoutineSettings | ModuleSettings, found: Found) -> Iterator[Problem]:
        if settings.suspend and settings.suspend_until:
            message = "suspend: true has no end; write only suspend_until"
            yield self._combination(found, ("suspend_until",), message)

    def _combination(self, found: Found, keys: Sequence[str], message: str) -> Problem:
        """Return the error at the flag if one is involved, or else at the first of the keys that the file sets."""
        for key in keys:
            if key in self._overrides:
                return Problem(_FLAGS[key], 0, 0, found.path, message)
        given = next((key for key in keys if key in found.value.entries), None)
        return found.problem(message, found.value.entries[given].place if given else None, *([given] if given else []))
