"""How long a thread was ready to run, and kept waiting for a processor."""

import os
import threading
from contextlib import suppress


class RunQueue:
    """The wait of the thread that makes this object, by the kernel's own account (/proc/…/schedstat)."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._last = 0.0
        self._lock = threading.Lock()
        with suppress(OSError):
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
            self.waited()
        self.known = self._file is not None
        """Whether the kernel tells."""

    def waited(self) -> float:
        """Return the seconds since the thread began; 0 where the kernel does not tell. Any thread may ask."""
        with self._lock:
            if self._file is not None:
                with suppress(OSError, ValueError, LookupError):
                    self._last = int(os.pread(self._file, 64, 0).split()[1]) / 1e9
        return self._last

    def close(self) -> None:
        """Ask no more."""
        self.waited()
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                os.close(file)
