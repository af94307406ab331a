"""What each command does; whatever is heavy is imported by the one command that needs it."""

import contextlib
import dataclasses
import functools
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from khealth_exporter import __version__
from khealth_exporter.cli.arguments import Arguments, parse
from khealth_exporter.web.address import Address

if TYPE_CHECKING:
    from khealth_exporter.app.commands import Options, SweepResult

EVERYWHERE = Address("", 8080)
"""Where khealth serves unless told otherwise."""
HERE = Address("127.0.0.1", 8080)
"""Where a demo serves unless told otherwise: it is nobody else's business."""

_LEVELS = {"once": "error", "sweep": "warning"}
"""What is logged at least by the commands that tell all the rest at their end."""

_FAILED, _USAGE, _UNKNOWN = 1, 2, 3
_SIGINT, _SIGPIPE = 128 + 2, 128 + 13


class CannotBegin(Exception):  # noqa: N818 - it reads as what happened
    """What a command was told cannot be done; its text is what to say, in one line or several."""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may not have every character
    arguments = parse(argv)
    try:
        code = _COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
    except CannotBegin as error:
        _complain(str(error))
        return _USAGE
    except KeyboardInterrupt:
        return _SIGINT
    except BrokenPipeError:
        # Python would complain again when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE
    return code


def _run(arguments: Arguments) -> int:
    with _starting(arguments):
        from khealth_exporter.app import commands as app  # noqa: PLC0415 - heavy

        return app.start(app.run, _options(arguments, listen=arguments.listen or [EVERYWHERE]))


def _once(arguments: Arguments) -> int:
    with _starting(arguments):
        from khealth_exporter.app import commands as app  # noqa: PLC0415 - heavy
        from khealth_exporter.report.document import as_json  # noqa: PLC0415 - heavy
        from khealth_exporter.report.junit import as_junit  # noqa: PLC0415 - heavy
        from khealth_exporter.report.report import Report  # noqa: PLC0415 - heavy
        from khealth_exporter.report.text import as_text  # noqa: PLC0415 - heavy

        options = _awake(_options(arguments), arguments.only)
        with _opened(arguments.junit) as junit:
            found = app.start(app.once, options)
            told = Report(__version__, found.cluster, found.snapshots, found.answered)
            junit.write(as_junit(told) if arguments.junit else "")
    _say(as_json(told) if arguments.json else as_text(told, colour=sys.stdout.isatty()))
    return told.exit_code


def _sweep(arguments: Arguments) -> int:
    with _starting(arguments):
        from khealth_exporter.app import commands as app  # noqa: PLC0415 - heavy

        options = _options(arguments)
        found = app.start(app.sweep, options, dry_run=arguments.dry_run, everything=arguments.everything)
    for item in found.deleted:
        _say(f"{'would delete' if arguments.dry_run else 'deleted'} {item}")
    for item in found.left:
        _complain(f"still there after {arguments.timeout:g} s: {item}")
    if found.failed:
        _complain(f"the sweep did not end: {found.failed}")
    elif not found.deleted and not found.left:
        _say(f"nothing to delete in namespace {found.namespace}")
    if found.kept:
        _say(f"{found.kept} objects are kept: they may rightfully live for now; --all deletes them too")
    return _code_of(found)


def _code_of(found: "SweepResult") -> int:
    from khealth_exporter.vocabulary.reason import Reason  # noqa: PLC0415 - with the rest
    from khealth_exporter.vocabulary.result import Result  # noqa: PLC0415 - with the rest

    if found.failed:
        reason = found.failed.reason
        silent = reason in {Reason.API_UNREACHABLE, Reason.API_TIMEOUT} or reason.result is Result.INCONCLUSIVE
        return _UNKNOWN if silent else _FAILED
    return _FAILED if found.left else 0


def _demo(arguments: Arguments) -> int:
    from khealth_exporter.cli import demo  # noqa: PLC0415 - heavy, and the only use of the simulator

    try:
        fault = demo.check(arguments.fault) if arguments.fault else None
    except ValueError as error:
        raise CannotBegin(f"khealth: {error}") from error
    with _starting(arguments):
        return demo.start(arguments.listen or [HERE], fault)


def _check_config(arguments: Arguments) -> int:
    from khealth_exporter.config import ConfigError, load  # noqa: PLC0415 - heavy

    try:
        load(arguments.file)
    except ConfigError as error:
        raise CannotBegin(str(error)) from error
    _say(f"{arguments.file}: ok")
    return 0


def _routines(arguments: Arguments) -> int:
    from khealth_exporter.cli import routines  # noqa: PLC0415 - heavy
    from khealth_exporter.cluster import namespace  # noqa: PLC0415 - heavy
    from khealth_exporter.modules import MODULES  # noqa: PLC0415 - heavy

    shown = routines.as_json if arguments.json else routines.as_text
    _say(shown(MODULES, namespace.PERMISSIONS))
    return 0


_COMMANDS: Mapping[str, Callable[[Arguments], int]] = {
    "run": _run,
    "once": _once,
    "demo": _demo,
    "check-config": _check_config,
    "routines": _routines,
    "sweep": _sweep,
}


@contextlib.contextmanager
def _starting(arguments: Arguments) -> Iterator[None]:
    """Log what happens inside, and turn all that keeps it from beginning into CannotBegin."""
    from khealth_exporter.app.commands import CannotStart  # noqa: PLC0415 - heavy
    from khealth_exporter.cli import logs  # noqa: PLC0415 - heavy
    from khealth_exporter.config import ConfigError  # noqa: PLC0415 - heavy

    logs.configure(arguments.log_level or _LEVELS.get(arguments.command, "info"), arguments.log_format)
    try:
        yield
    except ConfigError as error:
        raise CannotBegin(str(error)) from error
    except CannotStart as error:
        raise CannotBegin(f"khealth: {error}") from error


def _options(arguments: Arguments, *, listen: Sequence[Address] = ()) -> "Options":
    from khealth_exporter.app.commands import Options  # noqa: PLC0415 - heavy
    from khealth_exporter.config import load  # noqa: PLC0415 - heavy

    loading = functools.partial(
        load,
        arguments.config,
        namespace=arguments.namespace,
        poll_interval=arguments.poll_interval,
        pod_ttl=arguments.pod_ttl,
        only=arguments.only,
    )
    return Options(
        config=loading(),
        client_mode=arguments.client_mode,
        kubeconfig=arguments.kubeconfig,
        context=arguments.context,
        listen=tuple(listen),
        web_config=arguments.web_config,
        timeout=arguments.timeout,
        load=loading,
    )


def _awake(options: "Options", named: Sequence[str]) -> "Options":
    """Leave out what is suspended, and say so; a routine that was named is attempted all the same."""
    config, resting = options.config.awake(named)
    for routine in resting:
        _complain(f"{routine.module}/{routine.label} is suspended and left out; name it to attempt it all the same")
    return dataclasses.replace(options, config=config)


def _opened(path: Path | None) -> TextIO:
    """Open a report before anything begins, so that nobody learns only at the end that it cannot be written."""
    if path is None:
        return io.StringIO()
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise CannotBegin(f"khealth: {path} cannot be written: {error.strerror}") from error


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
