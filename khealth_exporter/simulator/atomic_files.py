"""Directories whose files change all at once, as the kubelet's atomic writer makes them."""

import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_DATA: Final = "..data"
_NEW_DATA: Final = "..data_tmp"


def write(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Make these the files of the directory, and tell whether that was a change.

    The files are in a directory with a time stamp; the link `..data` leads there, and is replaced atomically; every
    visible name is a link through `..data`.
    """
    data = folder / _DATA
    if data.exists() and _present(data) == files:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    before = data.resolve() if data.is_symlink() else None
    stamp = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
    fresh = Path(tempfile.mkdtemp(prefix=stamp, dir=folder))
    for name, content in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    new_data = folder / _NEW_DATA
    new_data.symlink_to(fresh.name)
    new_data.replace(data)
    _link(folder, {Path(name).parts[0] for name in files})
    if before is not None:
        shutil.rmtree(before)
    return True


def _present(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}


def _link(folder: Path, names: set[str]) -> None:
    """Give the directory these visible names."""
    visible = {path.name for path in folder.iterdir() if not path.name.startswith("..")}
    for name in names - visible:
        (folder / name).symlink_to(Path(_DATA, name))
    for name in visible - names:
        (folder / name).unlink()
