"""The command `khealth canary TASK ...`, which is `python -m khealth_exporter.canary TASK ...`."""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

from khealth_exporter.canary import agent, compute, config, disk, kernel, limits, volume
from khealth_exporter.canary.report import TERMINATION_LOG, Failed, Report, write

_TASKS = {
    "compute": (compute.MEANING, compute.add_arguments, compute.run),
    "config": (config.MEANING, config.add_arguments, config.run),
    "disk": (disk.MEANING, disk.add_arguments, disk.run),
    "volume": (volume.MEANING, volume.add_arguments, volume.run),
}
_AGENT = "agent"
"""The one that is no task: it goes on, and answers over the network."""
_UNWRITTEN = 3
"""Exit code if the document could not be written; the other commands have the same."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a task and write its document, or be an agent; return 0 also if what was measured is a failure.

    SystemExit with code 2 after a usage error. SIGTERM and SIGINT end the process with 128 + their number, and with no
    document.
    """
    options = parser().parse_args(argv)
    if options.task == _AGENT:
        return agent.run(options)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Process 1 of a container ignores a signal for which it has no handler.
        signal.signal(number, _end)
    report, ended = Report(options.task), threading.Lock()
    if options.within is not None:
        threading.Thread(target=_give_up, args=(options, report, ended), daemon=True).start()
    try:
        _run(options, report)
        ended.acquire()
        write(report.document(), options.report)
    except OSError as error:
        print(f"khealth canary: cannot write {error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return _UNWRITTEN
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="khealth canary",
        description="What runs inside a canary pod: one task, reported as one JSON document of at most 4096 bytes.",
        allow_abbrev=False,
    )
    tasks = made.add_subparsers(dest="task", metavar="TASK", required=True)
    for name, (meaning, add_arguments, run) in _TASKS.items():
        task = tasks.add_parser(name, help=meaning, description=_sentence(meaning), allow_abbrev=False)
        add_arguments(task)
        task.add_argument(
            "--report",
            type=limits.text,
            default=TERMINATION_LOG,
            metavar="FILE",
            help=f"where to write the document; default {TERMINATION_LOG}",
        )
        task.add_argument(
            "--within",
            type=limits.seconds,
            metavar="SECONDS",
            help="give up after so long, and report what the task was doing; by default never",
        )
        task.set_defaults(run=run)
    agent.add_arguments(
        tasks.add_parser(_AGENT, help=agent.MEANING, description=_sentence(agent.MEANING), allow_abbrev=False)
    )
    return made


def _sentence(meaning: str) -> str:
    return f"{meaning[:1].upper()}{meaning[1:]}."


def _run(options: argparse.Namespace, report: Report) -> None:
    try:
        options.run(options, report)
    except Failed as failed:
        report.fail(failed)
    report.facts["process_cpu_seconds"] = kernel.cpu()
    if (resident := kernel.resident()) is not None:
        report.facts["process_resident_bytes"] = resident


def _give_up(options: argparse.Namespace, report: Report, ended: threading.Lock) -> None:
    """End the process with a document after `within` seconds.

    Where a disk hangs, the process waits in the kernel and does not end: then there is no document that counts.
    """
    time.sleep(options.within)
    if not ended.acquire(blocking=False):
        return
    report.fail(Failed("unfinished", f"not finished after {options.within:g} s", operation=report.doing))
    report.facts["within_seconds"] = options.within
    if (waited := kernel.waited()) is not None:
        report.facts["waiting_seconds"] = waited
    write(report.document(), options.report)
    os._exit(0)


def _end(number: int, _frame: object) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
