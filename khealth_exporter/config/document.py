"""Reads a YAML or JSON file with limits on its size, its depth and its number of values."""

import hashlib
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml

from khealth_exporter.config.builder import Builder, place_of
from khealth_exporter.config.problem import ConfigError, Problem
from khealth_exporter.config.value import Place, Value
from khealth_exporter.kubectl_yaml import KubectlLoader

_SIZE = 256 * 1024
_DEPTH = 30

_Composed = TypeVar("_Composed")


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a file: `root` is None if the file is empty; `problems` lists what no configuration may contain.

    `digest` identifies the content.
    """

    file: str
    root: Value | None = None
    problems: tuple[Problem, ...] = ()
    digest: str = ""


def read(path: Path) -> Document:
    """Return the content of a file of at most 256 KiB; raise ConfigError if it is not one readable YAML document."""
    return parse(_content(path), str(path))


def digest(path: Path) -> str | None:
    """Return a digest of the file's content; None for a pipe or a device, which can be read only once.

    For a file that cannot be read, return the error instead.
    """
    try:
        mode = path.stat().st_mode
        once = stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)
        return None if once else _digest(_content(path))
    except (OSError, ValueError, ConfigError) as error:
        return str(error)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_SIZE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError((Problem(str(path), 0, 0, "", f"cannot be read: {reason}"),)) from error


def parse(content: bytes, file: str) -> Document:
    """Return the content of these bytes; raise ConfigError if they are not one YAML document."""
    node = _composed(content, file, lambda loader: loader.get_single_node())
    if node is None:
        return Document(file, digest=_digest(content))
    builder = Builder(file)
    root = builder.value(node)
    return Document(file, root, tuple(builder.problems), _digest(content))


def read_all(path: Path) -> tuple[Value, ...]:
    """Return the YAML documents of a file of at most 256 KiB, without empty ones; raise ConfigError."""
    nodes = _composed(_content(path), str(path), _every)
    builder = Builder(str(path))
    values = tuple(builder.value(node) for node in nodes)
    if builder.problems:
        raise ConfigError(tuple(builder.problems))
    return tuple(value for value in values if value.content is not None)


class _Refused(Exception):  # noqa: N818 - internal; callers see ConfigError
    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place, self.message = place, message


def _text(content: bytes) -> str:
    if len(content) > _SIZE:
        raise _Refused(Place(1, 1), f"the file is larger than {_SIZE // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        raise _Refused(_end_of(before), "the file is not valid UTF-8") from error


def _end_of(text: str) -> Place:
    return Place(text.count("\n") + 1, len(text) - text.rfind("\n"))


class _Loader(KubectlLoader):
    """Composes nodes, but none below the maximum depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _DEPTH:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _Refused(place_of(event.start_mark), f"nested more than {_DEPTH} levels deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _every(loader: _Loader) -> list[yaml.Node]:
    nodes: list[yaml.Node | None] = []
    while loader.check_node():
        nodes.append(loader.get_node())
    return [node for node in nodes if node]


def _composed(content: bytes, file: str, compose: Callable[[_Loader], _Composed]) -> _Composed:
    """Return what is composed of these bytes; raise ConfigError if they are no YAML."""
    try:
        return _checked(_text(content), compose)
    except _Refused as refused:
        place = refused.place
        raise ConfigError((Problem(file, place.line, place.column, "", refused.message),)) from refused


def _checked(text: str, compose: Callable[[_Loader], _Composed]) -> _Composed:
    try:
        return compose(_Loader(text))
    except yaml.MarkedYAMLError as error:
        raise _Refused(place_of(error.problem_mark or error.context_mark), _syntax(error)) from error
    except yaml.reader.ReaderError as error:
        character = ord(text[error.position])
        message = f"invalid YAML: character U+{character:04X} is not allowed"
        raise _Refused(_end_of(text[: error.position]), message) from error
    except (ValueError, OverflowError) as error:  # PyYAML lets the errors of int() and chr() through
        raise _Refused(Place(1, 1), "invalid YAML: invalid escape sequence or version directive") from error


def _syntax(error: yaml.MarkedYAMLError) -> str:
    if "'\\t'" in str(error.problem):
        return "invalid YAML: tab not allowed here; use spaces"
    if "single document" in str(error.context):
        return "the file must be one YAML document: a second one starts here"
    context = f"{error.context}, " if error.context else ""
    return f"invalid YAML: {context}{error.problem}"
