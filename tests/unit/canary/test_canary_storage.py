"""The tasks `disk` and `volume`."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from canary_process import Canary

from khealth_exporter.canary import disk as disk_task
from khealth_exporter.canary.__main__ import parser
from khealth_exporter.canary.report import Failed, Report
from khealth_exporter.canary.uncached import BLOCK, UncachedReader

SIZES = [1, 4095, BLOCK, BLOCK + 1, 3 * BLOCK - 5]
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system without a disk


def told(document: dict[str, object]) -> tuple[object, object, object]:
    return document["ok"], document["reason"], document["error"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("syncs", [1, 3, 16])
def test_a_disk_keeps_a_file_of_any_size(size: int, syncs: int, canary: Canary, disk: Path) -> None:
    document = canary.run("disk", "--path", disk, "--bytes", size, "--syncs", syncs)
    facts = document["facts"]
    assert (True, "", "") == told(document)
    assert (size, syncs) == (facts["bytes"], facts["syncs"])
    assert [] == list(disk.iterdir())


def test_every_step_of_a_disk_is_timed(canary: Canary, disk: Path) -> None:
    document = canary.run("disk", "--path", disk)
    durations, facts = document["durations"], document["facts"]
    assert {"write", "fsync", "read"} == durations.keys()
    assert min(*durations.values(), document["uncertainty_seconds"]) > 0
    assert 0 < facts["fsync_median_seconds"] <= facts["fsync_max_seconds"] <= durations["fsync"]


@pytest.mark.skipif(not MEMORY.is_dir(), reason="no tmpfs")
def test_a_disk_in_memory_is_reported_as_cached(canary: Canary) -> None:
    folder = MEMORY / f"khealth-{os.getpid()}"
    folder.mkdir()
    try:
        document = canary.run("disk", "--path", folder, "--bytes", 5 * BLOCK)
    finally:
        folder.rmdir()
    expected = (True, 1)
    assert expected == (document["ok"], document["facts"]["cached"])


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda path: path.symlink_to("/dev/full"), "write: ENOSPC: No space left on device"),
        (lambda path: path.mkdir(), "open: EISDIR: Is a directory"),
        (lambda path: path.symlink_to("/dev/null"), "fsync: EINVAL: Invalid argument"),
    ],
    ids=["full", "directory", "fsync"],
)
def test_an_error_of_the_disk_is_named(spoil: Callable[[Path], None], error: str, canary: Canary, disk: Path) -> None:
    spoil(disk / "khealth-disk")
    document = canary.run("disk", "--path", disk)
    operation, name, _ = error.split(": ")
    assert (False, "disk_failed", error) == told(document)
    assert (operation, name) == (document["facts"]["operation"], document["facts"]["errno"])


def test_a_write_that_fails_half_way_says_where(canary: Canary, disk: Path) -> None:
    """What was written and synced before is in the document, and the file is deleted."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * BLOCK, 2 * BLOCK))

    document = canary.run("disk", "--path", disk, "--bytes", 4 * BLOCK, "--syncs", 4, preexec=limited)
    facts = document["facts"]
    assert (False, "disk_failed", "write: EFBIG: File too large") == told(document)
    assert (2 * BLOCK, 2, 2 * BLOCK) == (facts["offset"], facts["syncs"], facts["bytes"])
    assert [] == list(disk.iterdir())


def test_a_disk_that_is_not_mounted_has_failed(canary: Canary, disk: Path) -> None:
    document = canary.run("disk", "--path", disk / "missing")
    assert (False, "disk_failed", "open: ENOENT: No such file or directory") == told(document)


def test_a_byte_that_changes_on_the_disk_is_corruption(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It changes after the last fsync, and before the first read."""
    dropped = os.posix_fadvise

    def flipping(*arguments: int) -> None:
        flip(disk / "khealth-disk", 70_000)
        dropped(*arguments)

    monkeypatch.setattr(os, "posix_fadvise", flipping)
    with pytest.raises(Failed, match="wrong content at offset 70000") as failed:
        disk_task.run(parser().parse_args(["disk", "--path", str(disk)]), Report("disk"))
    expected = ("data_corrupted", {"offset": 70_000})
    assert expected == (failed.value.reason, failed.value.facts)


def flip(path: Path, offset: int) -> None:
    """Invert a byte, on the disk too."""
    with path.open("r+b", buffering=0) as file:
        found = os.pread(file.fileno(), 1, offset)
        os.pwrite(file.fileno(), bytes([found[0] ^ 0xFF]), offset)
        os.fsync(file.fileno())


@pytest.mark.parametrize("size", SIZES)
def test_a_volume_is_verified_by_another_canary(size: int, canary: Canary, disk: Path) -> None:
    words = ("--path", disk, "--bytes", size, "--seed", "a")
    written = canary.run("volume", "write", *words)
    verified = canary.run("volume", "verify", *words)
    assert (True, "", "") == told(written) == told(verified)
    assert ({"write", "fsync"}, {"verify"}) == (written["durations"].keys(), verified["durations"].keys())


@pytest.mark.parametrize(
    ("spoil", "error", "offset"),
    [
        (lambda path: flip(path, 0), "wrong content at offset 0", 0),
        (lambda path: flip(path, 99_999), "wrong content at offset 99999", 99_999),
        (lambda path: os.truncate(path, 65_000), "the file has 65000 bytes instead of 100000", 65_000),
        (lambda path: os.truncate(path, 100_001), "the file has 100001 bytes instead of 100000", 100_000),
        (lambda path: path.unlink(), "the file is missing", 0),
    ],
    ids=["first byte", "last byte", "shorter", "longer", "missing"],
)
def test_a_volume_that_has_lost_data_is_corrupted(
    spoil: Callable[[Path], None], error: str, offset: int, canary: Canary, disk: Path
) -> None:
    words = ("--path", disk, "--bytes", 100_000, "--seed", "a")
    canary.run("volume", "write", *words)
    spoil(disk / "khealth-volume")
    document = canary.run("volume", "verify", *words)
    assert (False, "data_corrupted", error) == told(document)
    expected = offset
    assert expected == document["facts"]["offset"]


def test_content_of_another_seed_is_corruption(canary: Canary, disk: Path) -> None:
    """A volume of an earlier attempt does not pass for the one of this attempt."""
    canary.run("volume", "write", "--path", disk, "--seed", "a")
    document = canary.run("volume", "verify", "--path", disk, "--seed", "b")
    expected = "data_corrupted"
    assert expected == document["reason"]


def test_a_volume_that_is_not_mounted_has_lost_nothing(canary: Canary, disk: Path) -> None:
    document = canary.run("volume", "verify", "--path", disk / "missing", "--seed", "a")
    assert (False, "disk_failed", "read: ENOENT: No such file or directory") == told(document)


def test_a_file_that_cannot_be_read_is_no_corruption(canary: Canary, disk: Path) -> None:
    canary.run("volume", "write", "--path", disk, "--seed", "a", "--bytes", 1)
    (disk / "khealth-volume").unlink()
    (disk / "khealth-volume").symlink_to("khealth-volume")
    document = canary.run("volume", "verify", "--path", disk, "--seed", "a", "--bytes", 1)
    assert (False, "disk_failed", "read: ELOOP: Too many levels of symbolic links") == told(document)


def test_a_file_system_that_refuses_direct_reads_is_read_through_the_cache(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some refuse when a file is opened, some only when it is read."""
    path = disk / "file"
    path.write_bytes(b"content")
    reading = os.preadv

    def refusing(file: int, buffers: list[bytearray], offset: int, flags: int = 0) -> int:
        if Path(f"/proc/self/fd/{file}").readlink() == path and os.O_DIRECT & flags_of(file):
            raise OSError(22, "Invalid argument")
        return reading(file, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", refusing)
    reader = UncachedReader(str(path))
    try:
        expected = (b"content", False)
        assert expected == (reader.read(0, 7), reader.direct)
    finally:
        reader.close()


def flags_of(file: int) -> int:
    """Return the flags of an open file."""
    return int(Path(f"/proc/self/fdinfo/{file}").read_text().split("flags:")[1].split()[0], 8)


def test_a_disk_that_does_not_answer_is_reported_in_time(canary: Canary, disk: Path) -> None:
    """A pipe that no one reads from keeps the canary from opening its file."""
    os.mkfifo(disk / "khealth-disk")
    document = canary.run("disk", "--path", disk, "--within", "0.2")
    assert (False, "unfinished", "not finished after 0.2 s") == told(document)
    assert document["facts"]["within_seconds"] == 0.2


def test_a_canary_that_is_finished_in_time_reports_what_it_found(canary: Canary, disk: Path) -> None:
    """The limit changes nothing then."""
    assert (True, "", "") == told(canary.run("disk", "--path", disk, "--within", "60"))
