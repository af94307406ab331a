"""Standard output and standard error: either may be closed, full, or a pipe whose reader has gone."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TextIO


class CannotWrite(Exception):  # noqa: N818 - it reads as what happened
    """Output could not be written; the text is one line for an administrator."""


class ReaderGone(CannotWrite):
    """The reader of standard output has gone, as in `khealth routines | head`."""


def prepare() -> None:
    """Keep the numbers of the standard streams reserved, and print `?` for characters that a terminal lacks.

    A socket that is opened while standard output is closed would become standard output.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # It gets the lowest free number: this one.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def write(text: str) -> None:
    """Write to standard output at once; CannotWrite if that fails."""
    stream: TextIO | None = sys.stdout  # None if it was closed when the process started
    if stream is None:
        if text:
            raise CannotWrite("cannot write to standard output: it is closed")
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError as error:
        raise ReaderGone("cannot write to standard output: its reader has gone") from error
    except OSError as error:
        raise CannotWrite(f"cannot write to standard output: {error.strerror}") from error


def warn(text: str) -> None:
    """Write a line to standard error if possible: what cannot be written there changes no result."""
    stream: TextIO | None = sys.stderr
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.write(f"{text}\n")
            stream.flush()


def write_file(file: TextIO, text: str, path: Path) -> bool:
    """Write a file and close it; return whether that succeeded, and warn if not."""
    try:
        file.write(text)
        file.close()
    except OSError as error:
        warn(f"khealth: cannot write {path}: {error.strerror}")
        return False
    return True


def drop_unwritten() -> None:
    """Drop what could not be written; otherwise Python tries again when it exits, and changes the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
