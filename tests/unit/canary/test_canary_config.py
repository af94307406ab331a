"""The task `config`, with directories that change as the kubelet changes them."""

import os
from pathlib import Path

import pytest
from canary_process import Canary


def project(folder: Path, value: str) -> None:
    """Show a value as the kubelet does: a new directory, and one atomic change of the link `..data`."""
    version = folder / f"..{value}"
    version.mkdir(parents=True)
    (version / "value").write_text(value)
    (folder / "..data_tmp").symlink_to(version.name)
    (folder / "..data_tmp").rename(folder / "..data")
    if not (folder / "value").is_symlink():
        (folder / "value").symlink_to("..data/value")


@pytest.fixture
def mounted(tmp_path: Path) -> tuple[Path, Path]:
    """A ConfigMap and a Secret that show `old`."""
    folders = tmp_path / "config-map", tmp_path / "secret"
    for folder in folders:
        project(folder, "old")
    return folders


def test_it_ends_when_all_directories_show_the_value(
    mounted: tuple[Path, Path], canary: Canary, tmp_path: Path
) -> None:
    """They change one after the other, once the canary polls."""
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    first, second = mounted
    with canary.start("config", "--path", first, "--path", second, "--value", "new", "--ready", ready) as running:
        ready.read_bytes()
        project(first, "new")
        still_waiting = running.poll()
        project(second, "new")
        told = running.communicate()
    expected = (None, 0, ("", ""))
    assert expected == (still_waiting, running.returncode, told)


def test_the_times_of_the_directories_are_in_the_document(mounted: tuple[Path, Path], canary: Canary) -> None:
    first, second = mounted
    for folder in mounted:
        project(folder, "new")
    document = canary.run("config", "--path", first, "--path", second, "--value", "new")
    durations = document["durations"]
    assert (True, {str(first), str(second), "between"}) == (document["ok"], durations.keys())
    assert durations["between"] == pytest.approx(abs(durations[str(first)] - durations[str(second)]), abs=1e-8)
    assert document["uncertainty_seconds"] > 0


@pytest.mark.parametrize("value", ["other", "ne", "new "])
def test_another_value_is_not_the_one(value: str, mounted: tuple[Path, Path], canary: Canary) -> None:
    first, second = mounted
    project(first, "new")
    project(second, value)
    document = canary.run("config", "--path", first, "--path", second, "--value", "new", "--timeout", 0.1)
    expected = (False, "not_projected", f"not seen within 0.1 s: {second}")
    assert expected == (document["ok"], document["reason"], document["error"])
    assert {str(first)} == document["durations"].keys()


def test_a_directory_that_appears_late_counts(tmp_path: Path, canary: Canary) -> None:
    ready, late = tmp_path / "ready", tmp_path / "late"
    os.mkfifo(ready)
    with canary.start("config", "--path", late, "--value", "new", "--ready", ready) as running:
        ready.read_bytes()
        project(late, "new")
        told = running.communicate()
    expected = (0, ("", ""))
    assert expected == (running.returncode, told)
