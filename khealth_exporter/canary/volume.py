"""The task `volume`: one canary writes a file to a volume, and another one verifies it."""

import argparse
import os

from khealth_exporter.canary import content, limits
from khealth_exporter.canary.report import Report

MEANING = "write a file to a volume and sync it, or read and verify the file that another canary wrote"
_NAME = "khealth-volume"
_SYNCS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the task's flags."""
    size = limits.integer(1, content.LARGEST)
    parser.add_argument("action", choices=("write", "verify"), help="what to do with the file")
    parser.add_argument("--path", type=limits.text, required=True, metavar="DIR", help="where the volume is mounted")
    parser.add_argument("--bytes", type=size, default=1 << 22, metavar="N", help="size of the file; default 4194304")
    parser.add_argument(
        "--seed", type=limits.text, required=True, metavar="TEXT", help="seed of the content, the same for both"
    )


def run(options: argparse.Namespace, report: Report) -> None:
    """Report `write` and `fsync`, or `verify`; raise Failed."""
    made = content.Content(options.seed, options.bytes)
    path = os.path.join(options.path, _NAME)
    if options.action == "write":
        content.write(path, made, _SYNCS, report)
    else:
        content.verify(path, made, report, "verify")
