"""The task `disk`: writes a file with many syncs, reads it back, and verifies it."""

import argparse
import contextlib
import os

from khealth_exporter.canary import content, limits
from khealth_exporter.canary.report import Report

MEANING = "write a file, sync each part to the disk, read it past the page cache, verify it, and delete it"
_NAME = "khealth-disk"
_MOST_SYNCS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the task's flags."""
    size = limits.integer(1, content.LARGEST)
    syncs = limits.integer(1, _MOST_SYNCS)
    parser.add_argument("--path", type=limits.text, required=True, metavar="DIR", help="directory on the disk")
    parser.add_argument("--bytes", type=size, default=1 << 22, metavar="N", help="size of the file; default 4194304")
    parser.add_argument(
        "--syncs", type=syncs, default=16, metavar="N", help="parts, each followed by fsync; default 16"
    )
    parser.add_argument("--seed", type=limits.text, metavar="TEXT", help="seed of the content; default: random")


def run(options: argparse.Namespace, report: Report) -> None:
    """Report `write`, `fsync` and `read`; raise Failed."""
    # Random, so that no earlier file's blocks pass for those that were written now.
    made = content.Content(options.seed or os.urandom(16).hex(), options.bytes)
    path = os.path.join(options.path, _NAME)
    try:
        content.write(path, made, options.syncs, report)
        content.verify(path, made, report, "read")
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
