"""The files that a configuration is made of, and whether they have changed."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_LARGEST = 1024 * 1024


class Files:
    """Reads files, and remembers by path what each of them held."""

    def __init__(self) -> None:
        self.seen: dict[Path, str] = {}

    def read(self, path: Path) -> bytes:
        """Return what a file holds; OSError if it cannot be read or is larger than 1 MiB."""
        try:
            content = _content(path)
        except OSError as error:
            self.seen[path] = f"cannot be read: {error}"
            raise
        self.seen[path] = hashlib.sha256(content).hexdigest()
        return content


def look(paths: Iterable[Path]) -> Mapping[Path, str]:
    """Return by path what stands for the content of each file now; one that cannot be read is told by why."""
    files = Files()
    for path in paths:
        try:
            files.read(path)
        except OSError:
            continue
    return files.seen


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise OSError(0, "it is not a regular file")  # reading a pipe could block
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except ValueError as error:  # a NUL in the path
        raise OSError(0, str(error)) from error
    if len(content) > _LARGEST:
        raise OSError(0, f"it is larger than {_LARGEST // 1024} KiB")
    return content


def reason(error: OSError) -> str:
    """Return why a file cannot be read, in words."""
    return error.strerror or os.strerror(error.errno or 0)
