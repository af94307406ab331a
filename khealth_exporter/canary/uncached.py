"""Reads a file past the page cache where that is possible, and knows where it is not."""

import contextlib
import errno
import mmap
import os

BLOCK = 1 << 16
"""Bytes that are read at a time: O_DIRECT needs a multiple of the device's block, and memory aligned to it."""


class UncachedReader:
    """A synced file without its cached pages; with O_DIRECT where the file system has it. Raises OSError."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._memory = mmap.mmap(-1, BLOCK)
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
        self.cached = self._may_be_cached()
        """Whether the content may come from memory instead of the disk."""
        self.direct = False
        """Whether the file is read with O_DIRECT."""
        with contextlib.suppress(OSError):
            direct = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
            os.close(self._file)
            self._file, self.direct = direct, True

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes at a multiple of BLOCK; fewer only at the end of the file."""
        try:
            count = os.preadv(self._file, [self._memory], offset)
        except OSError as error:
            if not self.direct or error.errno != errno.EINVAL:
                raise
            self._give_up_direct()
            return self.read(offset, length)
        while not self.direct and count < length:
            more = os.preadv(self._file, [memoryview(self._memory)[count:]], offset + count)
            if not more:
                break
            count += more
        return self._memory[: min(count, length)]

    def close(self) -> None:
        """Read no more."""
        os.close(self._file)

    def _give_up_direct(self) -> None:
        """Read through the cache: some file systems refuse O_DIRECT only when they are asked to read."""
        buffered = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        os.close(self._file)
        self._file, self.direct = buffered, False

    def _may_be_cached(self) -> bool:
        """Return whether any block is in the page cache; a file system that does not tell may be memory itself."""
        byte = bytearray(1)
        try:
            for offset in range(0, os.fstat(self._file).st_size, BLOCK):
                with contextlib.suppress(BlockingIOError):
                    os.preadv(self._file, [byte], offset, os.RWF_NOWAIT)
                    return True
        except OSError:
            return True
        return False
