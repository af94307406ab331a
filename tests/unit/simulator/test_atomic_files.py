"""Directories of mounted ConfigMaps and Secrets: they change all at once."""

from pathlib import Path

from khealth_exporter.simulator import atomic_files


def visible(folder: Path) -> dict[str, str]:
    """Return the content of each file that a container sees."""
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith("..")}


def test_files_are_links_through_the_data_link(tmp_path: Path) -> None:
    """As a kubelet makes them."""
    assert atomic_files.write(tmp_path, {"a": b"1", "b": b"2"})
    assert {"a": "1", "b": "2"} == visible(tmp_path)
    assert [Path("..data/a"), Path("..data/b")] == [(tmp_path / name).readlink() for name in ("a", "b")]


def test_change_replaces_the_data_link(tmp_path: Path) -> None:
    """Files come, change and go, and the earlier directory is removed."""
    atomic_files.write(tmp_path, {"a": b"1", "b": b"1"})
    before = (tmp_path / "..data").resolve()
    assert atomic_files.write(tmp_path, {"a": b"2", "c": b"2"})
    assert {"a": "2", "c": "2"} == visible(tmp_path)
    after = (tmp_path / "..data").resolve()
    assert (False, {"..data", after.name, "a", "c"}) == (before.exists(), {path.name for path in tmp_path.iterdir()})


def test_unchanged_files_keep_the_data_link(tmp_path: Path) -> None:
    """Nothing that watches the link is woken."""
    atomic_files.write(tmp_path, {"a": b"1"})
    before = (tmp_path / "..data").readlink()
    assert not atomic_files.write(tmp_path, {"a": b"1"})
    assert before == (tmp_path / "..data").readlink()


def test_files_can_be_in_directories(tmp_path: Path) -> None:
    """The directory is then the link."""
    atomic_files.write(tmp_path, {"x/a": b"1", "x/b": b"2"})
    assert ("1", Path("..data/x")) == ((tmp_path / "x" / "a").read_text(), (tmp_path / "x").readlink())
