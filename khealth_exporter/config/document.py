"""A YAML file, read so that nothing in it can do harm."""

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

import yaml

from khealth_exporter.config.builder import Builder, place_of
from khealth_exporter.config.problem import ConfigError, Problem
from khealth_exporter.config.value import Place, Value

_SIZE = 256 * 1024
_DEPTH = 30


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds: `root` is None if that is nothing; `problems` is what no configuration may hold.

    `digest` tells this content from any other.
    """

    file: str
    root: Value | None = None
    problems: tuple[Problem, ...] = ()
    digest: str = ""


def read(path: Path) -> Document:
    """Return what a file of at most 256 KiB holds; ConfigError if it cannot be read or is not one YAML document."""
    return parse(_content(path), str(path))


def digest(path: Path) -> str | None:
    """Return what tells the file's content from any other; None for a pipe or a device, which says nothing twice.

    That it cannot be read counts as a content too.
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
    """Return what these bytes hold; ConfigError if they are not one YAML document."""
    try:
        node = _composed(_text(content))
    except _Refused as refused:
        place = refused.place
        raise ConfigError((Problem(file, place.line, place.column, "", refused.message),)) from refused
    if node is None:
        return Document(file, digest=_digest(content))
    builder = Builder(file)
    root = builder.value(node)
    return Document(file, root, tuple(builder.problems), _digest(content))


class _Refused(Exception):  # noqa: N818 - it reads as what happened; ConfigError is what callers see
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
        raise _Refused(_end_of(before), "the file is not UTF-8 text") from error


def _end_of(text: str) -> Place:
    return Place(text.count("\n") + 1, len(text) - text.rfind("\n"))


class _Loader(yaml.SafeLoader):
    """Composes nodes, but none that lie deeper than any configuration's do."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _DEPTH:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _Refused(place_of(event.start_mark), f"is nested more than {_DEPTH} levels deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _composed(text: str) -> yaml.Node | None:
    try:
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _Refused(place_of(error.problem_mark or error.context_mark), _syntax(error)) from error
    except yaml.reader.ReaderError as error:
        character = ord(text[error.position])
        message = f"is not valid YAML: the character U+{character:04X} may not stand in it"
        raise _Refused(_end_of(text[: error.position]), message) from error
    except (ValueError, OverflowError) as error:  # how PyYAML meets a number that is none
        raise _Refused(Place(1, 1), "is not valid YAML: an escape or the version in it is impossible") from error


def _syntax(error: yaml.MarkedYAMLError) -> str:
    if "'\\t'" in str(error.problem):
        return "is not valid YAML: a tab stands where only spaces may"
    if "single document" in str(error.context):
        return "a second document begins here: a configuration is one"
    context = f"{error.context}, " if error.context else ""
    return f"is not valid YAML: {context}{error.problem}"
