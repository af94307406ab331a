"""Runs a command; no way to end has the exit code of another one."""

import sys
import traceback
from collections.abc import Sequence

from khealth_exporter.cli import output
from khealth_exporter.cluster.redaction import redacted

UNWRITTEN = 3
"""The output could not be written: nobody learns anything about the cluster."""
_SIGINT, _SIGPIPE = 128 + 2, 128 + 13
_INTERNAL_ERROR = 70
"""EX_SOFTWARE of sysexits.h. Python's own code for an exception, 1, means that the cluster failed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return the exit code; SystemExit after a usage error and `--help`, as argparse has it."""
    output.prepare()
    try:
        return _code(argv)
    finally:
        output.drop_unwritten()


def _code(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else argv
    try:
        if words and words[0] == "canary":
            # With nothing else: it runs on users' nodes, and has its own command line.
            from khealth_exporter.canary.__main__ import main as canary  # noqa: PLC0415

            return canary(words[1:])
        # Here, so that a library that is missing or broken is an internal error too.
        from khealth_exporter.cli.commands import run  # noqa: PLC0415

        return run(words)
    except output.ReaderGone:
        return _SIGPIPE
    except output.CannotWrite as error:
        output.warn(f"khealth: {error}")
        return UNWRITTEN
    except KeyboardInterrupt:
        return _SIGINT
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is no verdict
        output.warn(redacted(traceback.format_exc().rstrip()))
        output.warn(f"khealth: internal error: {type(error).__name__}")
        return _INTERNAL_ERROR
