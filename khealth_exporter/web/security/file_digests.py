"""Reads configuration files, and detects changes by digests of their content."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_MAX_SIZE = 1024 * 1024
"""Bytes."""


class DigestingReader:
    """Reads files, and keeps the digest of each."""

    def __init__(self) -> None:
        self.digests: dict[Path, str] = {}
        """By path, the SHA-256 digest of the content, or the error if the file cannot be read."""

    def read(self, path: Path) -> bytes:
        """Return the content of a file; OSError if it cannot be read or is larger than 1 MiB."""
        try:
            content = _content(path)
        except OSError as error:
            self.digests[path] = f"cannot be read: {error}"
            raise
        self.digests[path] = hashlib.sha256(content).hexdigest()
        return content


def current_digests(paths: Iterable[Path]) -> Mapping[Path, str]:
    """Return the current digest of each file, or its error if it cannot be read."""
    reader = DigestingReader()
    for path in paths:
        try:
            reader.read(path)
        except OSError:
            continue
    return reader.digests


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise OSError(0, "not a regular file")  # A read from a pipe could block.
        with path.open("rb") as file:
            content = file.read(_MAX_SIZE + 1)
    except ValueError as error:  # A NUL in the path.
        raise OSError(0, str(error)) from error
    if len(content) > _MAX_SIZE:
        raise OSError(0, f"larger than {_MAX_SIZE // 1024} KiB")
    return content


def error_text(error: OSError) -> str:
    """Return why a file cannot be read, without its path."""
    return error.strerror or os.strerror(error.errno or 0)
