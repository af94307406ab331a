"""Files of known content: written and synced to the disk, and read back past the page cache where that is possible."""

import errno
import os
from collections.abc import Sequence

from khealth_exporter.canary.report import Failed, Report
from khealth_exporter.canary.uncached import BLOCK, UncachedReader

LARGEST = 1 << 40
"""Bytes."""


class Content:
    """Bytes that follow from a seed; any part of them can be made again."""

    def __init__(self, seed: str, size: int) -> None:
        self.size = size
        self._seed = seed.encode()

    def part(self, offset: int, end: int) -> bytes:
        """Return the bytes from `offset` to `end`, or to the end of its block if that comes first."""
        from hashlib import shake_128  # noqa: PLC0415 - it brings OpenSSL, which an agent does without

        number, begin = divmod(offset, BLOCK)
        block = shake_128(b"%d:%s" % (number, self._seed), usedforsecurity=False).digest(BLOCK)
        return block[begin : begin + min(end, self.size) - offset]


def write(path: str, content: Content, syncs: int, report: Report) -> None:
    """Write the file in `syncs` parts, each followed by fsync; report `write` and `fsync`; raise Failed."""
    operation, written = "open", 0
    fsyncs: list[float] = []
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            for number in range(1, syncs + 1):
                operation, end = "write", content.size * number // syncs
                while written < end:
                    part = content.part(written, end)
                    with report.timed("write"):
                        written += os.write(descriptor, part)
                operation = "fsync"
                fsyncs.append(_sync(descriptor, report))
            operation = "close"
        finally:
            os.close(descriptor)
        operation = "fsync of the directory"
        _sync_directory(path, report)
    except OSError as error:
        raise failed(operation, error, offset=written) from error
    finally:
        report.facts |= {"bytes": written, "syncs": len(fsyncs), **_spread(fsyncs)}


def verify(path: str, content: Content, report: Report, duration: str) -> None:
    """Read the file and compare every byte; report the duration of reading, and if it may be cached; raise Failed."""
    offset = 0
    try:
        _check_size(path, content.size)
        reader = UncachedReader(path)
        try:
            while offset < content.size:
                expected = content.part(offset, content.size)
                with report.timed(duration):
                    found = reader.read(offset, len(expected))
                _compare(expected, found, offset)
                offset += len(expected)
        finally:
            reader.close()
            report.facts |= {"cached": int(reader.cached), "direct": int(reader.direct)}
    except OSError as error:
        raise failed("read", error, offset=offset) from error


def failed(operation: str, error: OSError, **facts: float | str) -> Failed:
    """Return the failure of an operation on a disk, with the name of its error, such as `ENOSPC`."""
    name = errno.errorcode.get(error.errno or 0, "unknown")
    return Failed("disk_failed", f"{operation}: {name}: {error.strerror}", operation=operation, errno=name, **facts)


def _sync(descriptor: int, report: Report) -> float:
    before = report.durations.get("fsync", 0.0)
    with report.timed("fsync"):
        os.fsync(descriptor)
    return report.durations["fsync"] - before


def _sync_directory(path: str, report: Report) -> None:
    """Make the file's name durable too."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(descriptor, report)
    finally:
        os.close(descriptor)


def _spread(fsyncs: Sequence[float]) -> dict[str, float]:
    if not fsyncs:
        return {}
    return {"fsync_median_seconds": sorted(fsyncs)[len(fsyncs) // 2], "fsync_max_seconds": max(fsyncs)}


def _check_size(path: str, size: int) -> None:
    try:
        found = os.stat(path).st_size
    except FileNotFoundError:
        os.stat(os.path.dirname(path))  # A volume that is not there has not lost the file.
        raise Failed("data_corrupted", "the file is missing", offset=0) from None
    if found != size:
        raise Failed("data_corrupted", f"the file has {found} bytes instead of {size}", offset=min(found, size))


def _compare(expected: bytes, found: bytes, offset: int) -> None:
    if expected == found:
        return
    pairs = enumerate(zip(expected, found, strict=False), offset)
    first = next((place for place, (wanted, got) in pairs if wanted != got), offset + len(found))
    raise Failed("data_corrupted", f"wrong content at offset {first}", offset=first)
