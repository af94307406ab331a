"""From the configuration file and the command line to the Config that khealth runs with."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import StringConstraints, TypeAdapter, ValidationError

from khealth_exporter.config.document import Document, read
from khealth_exporter.config.problem import ConfigError, Problem, in_order
from khealth_exporter.config.schema import Found, validated
from khealth_exporter.config.value import Place, Value
from khealth_exporter.core.routine import Routine, RoutineConfig, RoutineSettings
from khealth_exporter.modules import MODULES, Module
from khealth_exporter.vocabulary.settings import NAME_LENGTH, MeasurementSettings, ModuleSettings, Name, format_duration

_KEYS = ("namespace", "measurement", "modules")
_SUSPEND = "suspend"
"""The one key beside a module's routines; no routine can have this name."""
_FLAGS = {"poll_interval": "--poll-interval", "pod_ttl": "--pod-ttl"}

_NAME: TypeAdapter[str] = TypeAdapter(Name)
_NAMESPACE: TypeAdapter[str] = TypeAdapter(
    Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
)


@dataclass(frozen=True, slots=True)
class Bound:
    """The namespace that a run works in to its end, and the one that it works in where none is configured."""

    namespace: str
    chosen: str


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration in force; `namespace` is None where khealth is to choose, `file` is "" where there is none.

    `digest` tells the file's content from any other.
    """

    namespace: str | None
    measurement: MeasurementSettings
    routines: tuple[RoutineConfig, ...]
    file: str
    digest: str = field(default="", compare=False)

    def awake(self, named: Collection[str]) -> tuple["Config", tuple[RoutineConfig, ...]]:
        """Return it without what is suspended, and what that is; what is suspended but `named` is to run after all."""
        resting = tuple(r for r in self.routines if r.settings.suspend and r.label not in named)
        running = (r for r in self.routines if r not in resting)
        return replace(self, routines=tuple(_suspended(r, suspend=False) for r in running)), resting

    def as_yaml(self) -> str:
        """Return it as a file that would say the same, all defaults filled in.

        Durations are text; a setting of pydantic's `SecretStr` is masked.
        """
        modules: dict[str, dict[str, object]] = {}
        for routine in self.routines:
            kind = {} if routine.label == routine.kind.name else {"kind": routine.kind.name}
            settings = routine.settings.model_dump(mode="json", by_alias=True)
            modules.setdefault(routine.module, {})[routine.label] = {**kind, **settings}
        document = {
            "namespace": self.namespace,
            "measurement": self.measurement.model_dump(mode="json", by_alias=True),
            "modules": modules,
        }
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _suspended(routine: RoutineConfig, *, suspend: bool) -> RoutineConfig:
    return replace(routine, settings=routine.settings.model_copy(update={_SUSPEND: suspend}))


def load(  # noqa: PLR0913 - each is one flag of the command line
    path: Path | None,
    *,
    namespace: str | None = None,
    poll_interval: float | None = None,
    pod_ttl: float | None = None,
    only: Sequence[str] = (),
    modules: Sequence[Module] = MODULES,
    bound: Bound | None = None,
) -> Config:
    """Return the configuration of a file, or the defaults if `path` is None; ConfigError with all that is wrong.

    A module that the file does not mention, or gives no routines, runs every kind that it has, with defaults and
    labelled with the kind's name. Once a module lists routines, exactly these run.

    What is given besides is from the command line: `namespace`, and `poll_interval` and `pod_ttl` (in seconds, for
    every routine that has such a key) win over the file; only modules and routines named in `only` are kept, if any is.

    For a run that is `bound` to a namespace already, another one is wrong too.
    """
    overrides = {"poll_interval": poll_interval, "pod_ttl": pod_ttl}
    document = read(path) if path else Document("")
    reader = _Reader(document, {key: value for key, value in overrides.items() if value is not None}, modules, bound)
    config = reader.config(namespace, only)
    if reader.problems:
        raise ConfigError(in_order(reader.problems))
    return config


class _Reader:
    """Reads one document, and collects what is wrong with it."""

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
        self._modules = modules
        self.problems = list(document.problems)

    def config(self, namespace: str | None, only: Sequence[str]) -> Config:
        """Return what the document says; it may only be used if nothing is wrong with it."""
        sections = self._sections(self._root, _KEYS)
        routines = tuple(self._routines(sections.get("modules")))
        return Config(
            self._bounded(self._namespace(namespace, sections.get("namespace")), sections.get("namespace")),
            self._measurement(sections.get("measurement")),
            tuple(self._kept(routines, only)),
            self._file,
            self._digest,
        )

    def _sections(self, found: Found, known: Iterable[str] | None) -> dict[str, Found]:
        """Return the parts of a mapping by key, having noted those that are not `known`; nothing is empty."""
        if not isinstance(found.value.content, dict | None):
            self.problems.append(found.problem(f"must be a mapping, not {found.value.described()}"))
        keys = found.value.entries
        self.problems += (found.unknown(key, known) for key in keys if known is not None and key not in known)
        return {key: found.within(key) for key in keys if known is None or key in known}

    def _namespace(self, flag: str | None, found: Found | None) -> str | None:
        told = flag if flag is not None else found.value.content if found else None
        if told is None:
            return None
        try:
            return _NAMESPACE.validate_python(told, strict=True)
        except ValidationError:
            what = "is not a namespace's name: lower-case letters, digits and '-', at most 63"
            if flag is not None or found is None:
                self.problems.append(Problem("--namespace", 0, 0, "", f"the text {flag!r} {what}"))
            else:
                self.problems.append(found.problem(f"{found.value.described()} {what}"))
            return None

    def _bounded(self, namespace: str | None, found: Found | None) -> str | None:
        """Return it, having noted if it is not the one that a running khealth works in."""
        bound, at = self._bound, found or self._root
        if bound and (namespace or bound.chosen) != bound.namespace:
            what = f"cannot become {namespace or bound.chosen!r} while khealth works in {bound.namespace!r}: restart it"
            self.problems.append(replace(at.problem(what), path="namespace"))
        return namespace

    def _measurement(self, found: Found | None) -> MeasurementSettings:
        if found is None:
            return MeasurementSettings()
        settings, problems = validated(MeasurementSettings, found)
        self.problems += problems
        return settings or MeasurementSettings()

    def _routines(self, found: Found | None) -> Iterator[RoutineConfig]:
        sections = self._sections(found, [module.name for module in self._modules]) if found else {}
        for module in self._modules:
            section = sections.get(module.name)
            parts = self._sections(section, None) if section else {}
            suspended = section is not None and self._is_suspended(section)
            parts.pop(_SUSPEND, None)
            for routine in self._of_module(module, parts):
                yield _suspended(routine, suspend=True) if suspended else routine

    def _is_suspended(self, section: Found) -> bool:
        """Tell what the key beside a module's routines says; it is not suspended where that is nothing."""
        told = {key: value for key, value in section.value.entries.items() if key == _SUSPEND}
        settings, problems = validated(
            ModuleSettings, Found(section.file, section.path, Value(section.value.place, told))
        )
        self.problems += problems
        return settings is not None and settings.suspend

    def _of_module(self, module: Module, parts: Mapping[str, Found]) -> Iterator[RoutineConfig]:
        for label, part in parts.items():
            yield from self._routine(module, label, part)
        if not parts:
            nothing = self._root.value
            for kind in module.routines:
                at = Found(self._file, f"modules.{module.name}.{kind.name}", Value(nothing.place, None))
                yield from self._routine(module, kind.name, at)

    def _routine(self, module: Module, label: str, found: Found) -> Iterator[RoutineConfig]:
        try:
            _NAME.validate_python(label)
        except ValidationError:
            what = "is not a routine's name: lower-case letters, digits and '-', a letter first"
            self.problems.append(found.problem(f"{what}, at most {NAME_LENGTH}", found.value.key))
            return
        kind = self._kind(module, label, found)
        if kind is None:
            return
        entries = {key: value for key, value in found.value.entries.items() if key != "kind"}
        content = entries if isinstance(found.value.content, dict) else found.value.content
        told = Found(found.file, found.path, Value(found.value.place, content, found.value.text))
        settings, problems = validated(kind.Settings, told)
        self.problems += problems
        if settings is not None:
            settings = self._overridden(settings)
            self.problems += self._impossible(settings, told)
            yield RoutineConfig(module.name, label, kind, settings)

    def _kind(self, module: Module, label: str, found: Found) -> type[Routine[Any]] | None:
        kinds = {kind.name: kind for kind in module.routines}
        told = found.value.entries.get("kind")
        if told is None and label in kinds:
            return kinds[label]
        known = ", ".join(sorted(kinds))
        if told is None:
            self.problems.append(found.problem(f"needs a kind, because no kind has this name; known: {known}"))
        elif not isinstance(told.content, str) or told.content not in kinds:
            what = f"{told.described()} is not a kind of this module; known: {known}"
            self.problems.append(found.problem(what, told.place, "kind"))
        elif label in kinds and told.content != label:
            what = f"must be {label} or left out, because that kind has the routine's name"
            self.problems.append(found.problem(what, told.place, "kind"))
        else:
            return kinds[told.content]
        return None

    def _overridden(self, settings: RoutineSettings) -> RoutineSettings:
        known = type(settings).model_fields
        return settings.model_copy(update={key: value for key, value in self._overrides.items() if key in known})

    def _impossible(self, settings: RoutineSettings, found: Found) -> Iterator[Problem]:
        """Yield what cannot be true of settings that are each possible."""
        known = type(settings).model_fields
        hold = f" plus pod_ttl ({format_duration(settings.hold)})" if "pod_ttl" in known else ""
        if {"poll_interval", "pod_ttl"} <= known.keys() and settings.pause > settings.hold:
            pause, ttl = format_duration(settings.pause), format_duration(settings.hold)
            message = f"poll_interval ({pause}) is above pod_ttl ({ttl})"
            yield self._combination(found, ("poll_interval", "pod_ttl"), message)
        total = 2 * settings.timeout + settings.hold
        if total > settings.interval:
            message = (
                f"twice timeout ({format_duration(settings.timeout)}){hold} is {format_duration(total)}, "
                f"above interval ({format_duration(settings.interval)}): attempts would overlap"
            )
            yield self._combination(found, ("pod_ttl", "timeout", "interval"), message)

    def _combination(self, found: Found, keys: Sequence[str], message: str) -> Problem:
        """Return the problem of a flag, if one has a part in it, or else of the first of the keys that was given."""
        for key in keys:
            if key in self._overrides:
                return Problem(_FLAGS[key], 0, 0, found.path, message)
        given = next((key for key in keys if key in found.value.entries), None)
        return found.problem(message, found.value.entries[given].place if given else None, *([given] if given else []))

    def _kept(self, routines: tuple[RoutineConfig, ...], only: Sequence[str]) -> Iterator[RoutineConfig]:
        names = {module.name for module in self._modules} | {routine.label for routine in routines}
        for name in only:
            if name not in names:
                what = f"no module or routine has this name; known: {', '.join(sorted(names))}"
                self.problems.append(Problem(name, 0, 0, "", what))
        return (routine for routine in routines if not only or routine.module in only or routine.label in only)
