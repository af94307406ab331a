"""The wheel, which is what the image is made of, and the sdist, from which anybody can build it."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from deployment import ROOT

from khealth_exporter import __version__

BESIDES = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO", ".gitignore"}
"""What the sdist holds besides the package; hatchling adds the file by which it leaves others out."""


def built(target: str, root: Path, folder: Path) -> Path:
    """Build a wheel or an sdist of what is in a folder."""
    words = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(words, cwd=root, check=True, capture_output=True, timeout=120)  # noqa: S603
    (path,) = folder.iterdir()
    return path


def package() -> set[str]:
    """Return the files of the package."""
    files = (path for path in (ROOT / "khealth_exporter").rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel that is built from the repository."""
    return built("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what is in the sdist."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(built("sdist", ROOT, tmp_path_factory.mktemp("sdist"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"khealth_exporter-{__version__}"


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """Styles, scripts and documents too: nothing is read that is not installed."""
    assert package() == {name for name in contents(wheel) if name.startswith("khealth_exporter/")}


def test_the_sdist_holds_what_the_wheel_is_built_from_and_nothing_else(unpacked: Path) -> None:
    """No tests without what they read, and no file of another folder that happens to have the same name."""
    found = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert package() | BESIDES == found


def test_the_wheel_that_is_built_from_the_sdist_is_the_same(unpacked: Path, wheel: Path, tmp_path: Path) -> None:
    """To the byte."""
    assert contents(wheel) == contents(built("wheel", unpacked, tmp_path))
