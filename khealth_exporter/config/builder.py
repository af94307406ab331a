"""Turns YAML nodes into Values, and reports what no configuration may contain."""

from collections.abc import Iterator

import yaml

from khealth_exporter.config.problem import ConfigError, Problem
from khealth_exporter.config.value import Place, Scalar, Value

_VALUES = 10_000
_LARGEST = 2**63
_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset({"null", "bool", "int", "float", "str", "timestamp", "value", "merge"})


def place_of(mark: yaml.Mark | None) -> Place:
    """Return the place of a mark; the start of the file if there is no mark."""
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


class Builder:
    """Turns nodes into Values; an alias becomes a copy, so the number of values is bounded."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0
        self._open: list[yaml.Node] = []
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: str = "", key: yaml.Node | None = None) -> Value:
        """Return the value of a node; raise ConfigError if it contains itself or too many values."""
        place = place_of(node.start_mark)
        self._count += 1
        if self._count > _VALUES:
            raise ConfigError((self._problem(node, "", f"the file contains more than {_VALUES} values"),))
        if any(node is outer for outer in self._open):
            raise ConfigError((self._problem(node, path, "an alias refers to a value that contains it"),))
        key_place = place_of(key.start_mark) if key else None
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return Value(place, self._mapping(node, path), key=key_place)
            if isinstance(node, yaml.SequenceNode):
                return Value(place, self._sequence(node, path), key=key_place)
            return Value(place, self._scalar(node, path), str(node.value), key_place)
        finally:
            self._open.pop()

    def _problem(self, node: yaml.Node, path: str, message: str) -> Problem:
        place = place_of(node.start_mark)
        return Problem(self._file, place.line, place.column, path, message)

    def _report(self, node: yaml.Node, path: str, message: str) -> None:
        self.problems.append(self._problem(node, path, message))

    def _check_tag(self, node: yaml.Node, path: str, *known: str) -> None:
        if node.tag.removeprefix(_TAG) not in known:
            self._report(node, path, f"unknown tag {node.tag.replace(_TAG, '!!')}")

    def _sequence(self, node: yaml.SequenceNode, path: str) -> list[Value]:
        self._check_tag(node, path, "seq")
        return [self.value(item, f"{path}[{index}]") for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Value]:
        self._check_tag(node, path, "map")
        entries: dict[str, Value] = {}
        for key, item in node.value:
            name = self._key(key, path)
            if name is None:
                continue
            inner = f"{path}.{name}" if path else name
            if (first := entries.get(name)) and first.key:
                self._report(key, inner, f"duplicate key, first set on line {first.key.line}")
                continue
            entries[name] = self.value(item, inner, key)
        for source in _merged(node):
            for name, value in self._merge_source(source, path).items():
                entries.setdefault(name, value)
        return entries

    def _key(self, node: yaml.Node, path: str) -> str | None:
        if node.tag == f"{_TAG}merge":
            return None
        content = self._scalar(node, path) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(content, str):
            return content
        written = f"{node.value or 'null'} (put it in quotes)"
        what = written if isinstance(node, yaml.ScalarNode) else "a mapping or a list"
        self._report(node, path, f"a key must be a string, not {what}")
        return None

    def _merge_source(self, node: yaml.Node, path: str) -> dict[str, Value]:
        value = self.value(node, path)
        if not isinstance(value.content, dict):
            self._report(node, path, f"<< must refer to a mapping, not {value.described()}")
        return value.entries

    def _scalar(self, node: yaml.Node, path: str) -> Scalar:
        self._check_tag(node, path, *_SCALARS)
        text = str(node.value)
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._report(node, path, "contains an unpaired surrogate, which is not a character")
            return ""
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return text.lower() in {"yes", "true", "on"}
            case "int" | "float" as kind:
                return self._number(node, kind, path)
            case _:
                return text

    def _number(self, node: yaml.Node, kind: str, path: str) -> Scalar:
        constructor = yaml.constructor.SafeConstructor()
        construct = constructor.construct_yaml_int if kind == "int" else constructor.construct_yaml_float
        try:
            number = construct(yaml.ScalarNode(node.tag, node.value))
        except (ValueError, OverflowError, IndexError):  # the text after an explicit tag can be anything
            return str(node.value)
        if isinstance(number, int) and abs(number) >= _LARGEST:
            self._report(node, path, "number is too large")
            return 0
        return float(number) if kind == "float" else int(number)


def _merged(node: yaml.MappingNode) -> Iterator[yaml.Node]:
    for key, item in node.value:
        if key.tag == f"{_TAG}merge":
            yield from item.value if isinstance(item, yaml.SequenceNode) else (item,)
