"""The wheel, which is what the image is made of."""

import subprocess
import sys
import zipfile
from pathlib import Path

from deployment import ROOT


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    """Styles, scripts and documents too: nothing is read that is not installed."""
    words = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=120)  # noqa: S603
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("khealth_exporter/")}
    package = (path for path in (ROOT / "khealth_exporter").rglob("*") if path.is_file())
    files = {str(path.relative_to(ROOT)) for path in package if "__pycache__" not in path.parts}
    assert files == held
