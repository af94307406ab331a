"""Validates a part of the file against a settings model, and describes each error in a plain sentence."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from khealth_exporter.config.problem import Problem
from khealth_exporter.config.value import Place, Value
from khealth_exporter.vocabulary.settings import Duration, Moment, Settings

_Model = TypeVar("_Model", bound=Settings)

_KINDS = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string (put it in quotes)",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "dataclass_type": "a mapping",
}
_BOUNDS = {
    "greater_than": ("gt", "must be greater than {}"),
    "greater_than_equal": ("ge", "must be at least {}"),
    "less_than": ("lt", "must be less than {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "string_too_short": ("min_length", "must have at least {} characters"),
    "string_too_long": ("max_length", "must have at most {} characters"),
    "too_short": ("min_length", "must have at least {} entries"),
    "too_long": ("max_length", "must have at most {} entries"),
    "string_pattern_mismatch": ("pattern", "must match {}"),
    "literal_error": ("expected", "must be {}"),
    "enum": ("expected", "must be {}"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A part of the file: the name of the file, the path of the part, and its value."""

    file: str
    path: str
    value: Value

    def problem(self, message: str, place: Place | None = None, *inner: str | int) -> Problem:
        """Return an error in this part, or in a value inside it."""
        at = place or self.value.place
        return Problem(self.file, at.line, at.column, _joined(self.path, inner), message)

    def within(self, key: str) -> "Found":
        """Return the part under an existing key."""
        return Found(self.file, _joined(self.path, (key,)), self.value.entries[key])

    def unknown(self, key: str, known: Iterable[str]) -> Problem:
        """Return the error for an unknown key."""
        place = self.value.entries[key].key
        return self.problem(_unknown(key, known), place, key)


def validated(model: type[_Model], found: Found) -> tuple[_Model | None, tuple[Problem, ...]]:
    """Return the settings in a part of the file, or every error in it; an empty part means defaults."""
    plain = {} if found.value.content is None else found.value.plain()
    try:
        # In JSON mode a list can become a tuple, but a string cannot become a number.
        return model.model_validate_json(json.dumps(plain), strict=True), ()
    except ValidationError as error:
        return None, tuple(_problem(model, found, detail) for detail in error.errors(include_url=False))


def _problem(model: type[BaseModel], found: Found, detail: ErrorDetails) -> Problem:
    value, inner = found.value, []
    for part in detail["loc"]:
        match value.content:
            case dict(entries) if part in entries:
                value = entries[str(part)]
            case list(items) if isinstance(part, int) and part < len(items):
                value = items[part]
            case _:
                continue
        inner.append(part)
    name = str(detail["loc"][-1]) if detail["loc"] else ""
    if detail["type"] == "missing":
        return found.problem("is missing", value.place, *inner, name)
    if detail["type"] == "extra_forbidden":
        return found.problem(_unknown(name, _keys(model, inner[:-1])), value.key, *inner)
    return found.problem(_sentence(detail, value), value.place, *inner)


def _sentence(detail: ErrorDetails, value: Value) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if wanted := _KINDS.get(kind):
        return f"must be {wanted}, not {value.described()}"
    if bound := _BOUNDS.get(kind):
        name, sentence = bound
        limit = context[name]
        if name == "min_length" and limit == 1:
            return "must not be empty"
        if kind == "literal_error":  # As YAML writes them.
            limit = str(limit).replace("True", "true").replace("False", "false")
        return sentence.format(f"{limit:g}" if isinstance(limit, float) else limit)
    return str(context.get("error", detail["msg"]))


def _unknown(key: str, known: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - only errors need it

    names = sorted(known)
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    return f"unknown key; did you mean {near[0]}?" if near else f"unknown key; known: {', '.join(names)}"


def _joined(path: str, inner: Iterable[str | int]) -> str:
    for part in inner:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _keys(model: type[BaseModel], inner: Iterable[str | int]) -> Iterator[str]:
    current: type[BaseModel] | None = model
    for part in inner:
        if isinstance(part, str) and current:
            current = next((_model_in(f.annotation) for name, f in _fields(current) if name == part), None)
    return (name for name, _ in _fields(current)) if current else iter(())


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    return ((field.alias or name, field) for name, field in model.model_fields.items())


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - whatever a field is annotated with
    if isinstance(annotation, type) and not get_origin(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of a routine: path, type, default and meaning; a `required` key has no default."""

    name: str
    type: str
    default: object
    meaning: str
    required: bool = False


def settings_of(model: type[BaseModel]) -> tuple[Setting, ...]:
    """Return every key of a settings model; those of a nested model as `outer.inner`."""
    return tuple(_settings(model, "", _defaults(model)))


def missing_in(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys of a settings model that have no default."""
    return tuple(name for name, field in _fields(model) if field.is_required())


def _defaults(model: type[BaseModel]) -> Mapping[str, object]:
    return model.model_construct().model_dump(mode="json", by_alias=True)


def _settings(model: type[BaseModel], prefix: str, defaults: Mapping[str, object]) -> Iterator[Setting]:
    for name, field in _fields(model):
        path, meaning = prefix + name, " ".join((field.description or "").split())
        annotation = field.annotation
        inner = _model_in(annotation) if isinstance(annotation, type) and not get_origin(annotation) else None
        if inner is None:
            yield Setting(path, _type(field), defaults.get(name), meaning, required=name not in defaults)
            continue
        given = defaults.get(name)
        if not isinstance(given, Mapping):
            yield Setting(path, "mapping", None, meaning, required=True)
        yield from _settings(inner, f"{path}.", given if isinstance(given, Mapping) else _defaults(inner))


_TYPES: Mapping[object, str] = MappingProxyType(
    {bool: "boolean", int: "integer", float: "number", dict: "mapping", str: "string", SecretStr: "string"}
)


def _type(field: FieldInfo) -> str:
    for written, name in ((Duration, "duration"), (Moment, "time")):
        if written.__metadata__[0] in field.metadata:  # type: ignore[attr-defined]
            return name
    annotation: Any = field.annotation
    if type(None) in get_args(annotation):
        annotation = next(choice for choice in get_args(annotation) if choice is not type(None))
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(get_args(annotation))}"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return f"one of {', '.join(annotation)}"
    if _model_in(annotation) and get_origin(annotation) in {Union, UnionType}:
        return "mapping"
    return _TYPES.get(get_origin(annotation) or annotation, "list")
