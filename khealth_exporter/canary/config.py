"""The task `config`: waits until mounted ConfigMaps and Secrets show a value."""

import argparse
import os
import time

from khealth_exporter.canary import kernel, limits
from khealth_exporter.canary.report import Failed, Report

MEANING = "wait until every mounted directory shows a value, and measure how far apart they show it"
_POLL_SECONDS = 0.02
_MOST_DIRECTORIES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the task's flags."""
    parser.add_argument(
        "--path",
        type=limits.text,
        action=_Paths,
        required=True,
        metavar="DIR",
        help="where a ConfigMap or a Secret is mounted; repeatable, at most 8 times",
    )
    parser.add_argument("--key", type=limits.text, default="value", help="key that holds the value; default value")
    parser.add_argument("--value", type=limits.text, required=True, metavar="TEXT", help="the value to wait for")
    parser.add_argument("--timeout", type=limits.seconds, default=120.0, metavar="SECONDS", help="default 120")
    parser.add_argument("--ready", metavar="FILE", type=limits.text, help="file to create when polling begins")


def run(options: argparse.Namespace, report: Report) -> None:
    """Report after how long each directory showed the value, and `between` the first and the last; raise Failed.

    The uncertainty is the longest time between two polls. OSError if the file `ready` cannot be created.
    """
    value = options.value.encode()
    waiting = [_Mounted(path, options.key) for path in options.path]
    if options.ready:
        os.close(os.open(options.ready, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    began = polled = time.monotonic()
    while True:
        seen = {mounted.path for mounted in waiting if mounted.shows(value)}
        last, polled = polled, time.monotonic()
        report.uncertainty = max(report.uncertainty, polled - last + kernel.CLOCK_SECONDS)
        report.durations |= dict.fromkeys(seen, polled - began)
        waiting = [mounted for mounted in waiting if mounted.path not in seen]
        if not waiting:
            break
        if polled - began >= options.timeout:
            unseen = ", ".join(mounted.path for mounted in waiting)
            raise Failed("not_projected", f"not seen within {options.timeout:g} s: {unseen}")
        time.sleep(_POLL_SECONDS)
    report.durations["between"] = max(report.durations.values()) - min(report.durations.values())


class _Mounted:
    """One key of a mounted ConfigMap or Secret."""

    def __init__(self, path: str, key: str) -> None:
        self.path = path
        self._file = os.path.join(path, key)
        self._version: tuple[int, ...] | None = None

    def shows(self, value: bytes) -> bool:
        """Return whether the key has the value; the file is read only if it has changed since the last call.

        The kubelet replaces the link `..data` that leads to the file, so each version is another file.
        """
        try:
            status = os.stat(self._file)
            version = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            if version == self._version:
                return False
            with open(self._file, "rb") as file:
                found = file.read(len(value) + 1)
        except OSError:
            return False  # Not mounted yet, or between two versions.
        self._version = version
        return found == value


class _Paths(argparse.Action):
    """Collects directories, each once, and no more than fit into the report."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, *_: object
    ) -> None:
        paths = dict.fromkeys([*(getattr(namespace, self.dest) or ()), values])
        if len(paths) > _MOST_DIRECTORIES:
            parser.error(f"argument --path: more than {_MOST_DIRECTORIES} directories")
        setattr(namespace, self.dest, list(paths))
