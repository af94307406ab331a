"""Runs each command; a command imports the heavy modules that it needs, so that `--help` stays fast."""

import contextlib
import dataclasses
import functools
import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from khealth_exporter import __version__
from khealth_exporter.cli.arguments import DEFAULT_LEVELS, Arguments, parse
from khealth_exporter.cli.main import UNWRITTEN
from khealth_exporter.cli.output import warn, write, write_file
from khealth_exporter.vocabulary.address import Address
from khealth_exporter.vocabulary.settings import format_duration, format_moment

if TYPE_CHECKING:
    from khealth_exporter.app.commands import Options, SweepResult
    from khealth_exporter.app.reload import Load
    from khealth_exporter.config import Bound, Config

EVERYWHERE = Address("", 8080)
"""Default address of run."""
HERE = Address("127.0.0.1", 8080)
"""Default address of demo: this machine only."""

_FAILED, _USAGE, _UNKNOWN = 1, 2, 3


class UsageError(Exception):
    """A command cannot start; the text is the message to print, one line or several."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return the exit code; CannotWrite if its output cannot be written."""
    arguments = parse(argv)
    try:
        return _COMMANDS[arguments.command](arguments)
    except UsageError as error:
        warn(str(error))
        return _USAGE


def _run(arguments: Arguments) -> int:
    with _startup(arguments):
        from khealth_exporter.app import commands as app  # noqa: PLC0415 - heavy

        options = _options(arguments, listen=arguments.listen or [EVERYWHERE])
        _log_left_out(options.config)
        return app.start(app.run, dataclasses.replace(options, load=_logging_left_out(options.load)))


def _once(arguments: Arguments) -> int:
    with _startup(arguments):
        from khealth_exporter.app import commands as app  # noqa: PLC0415 - heavy
        from khealth_exporter.report.document import as_json  # noqa: PLC0415 - heavy
        from khealth_exporter.report.junit import as_junit  # noqa: PLC0415 - heavy
        from khealth_exporter.report.report import Report  # noqa: PLC0415 - heavy
        from khealth_exporter.report.text import as_text  # noqa: PLC0415 - heavy

        options = _for_once(_options(arguments), arguments.only)
        with _opened(arguments.junit) as junit:
            found = app.start(app.once, options)
            told = Report(__version__, found.cluster, found.snapshots, found.answered)
            complete = arguments.junit is None or write_file(junit, as_junit(told), arguments.junit)
    _print(as_json(told) if arguments.json else as_text(told, color=sys.stdout is not None and sys.stdout.isatty()))
    return told.exit_code if complete else UNWRITTEN


def _sweep(arguments: Arguments) -> int:
    with _startup(arguments):
        from khealth_exporter.app import commands as app  # noqa: PLC0415 - heavy

        options = _options(arguments)
        found = app.start(app.sweep, options, dry_run=arguments.dry_run, everything=arguments.everything)
    for item in found.left:
        warn(f"not deleted within {format_duration(arguments.timeout)}: {item}")
    if found.failed:
        warn(f"sweep failed: {found.failed}")
    for line in _sweep_lines(found, dry_run=arguments.dry_run):
        _print(line)
    return _code_of(found)


def _sweep_lines(found: "SweepResult", *, dry_run: bool) -> Iterator[str]:
    for item in found.deleted:
        yield f"{'would delete' if dry_run else 'deleted'} {item}"
    if not found.failed and not found.deleted and not found.left:
        yield f"nothing to delete in namespace {found.namespace}"
    if found.kept:
        objects = "object" if found.kept == 1 else "objects"
        yield f"kept {found.kept} {objects} that may belong to a running khealth; --all deletes them too"


def _code_of(found: "SweepResult") -> int:
    from khealth_exporter.vocabulary.reason import Reason  # noqa: PLC0415 - heavy
    from khealth_exporter.vocabulary.result import Result  # noqa: PLC0415 - heavy

    if found.failed:
        reason = found.failed.reason
        unknown = reason in {Reason.API_UNREACHABLE, Reason.API_TIMEOUT} or reason.result is Result.INCONCLUSIVE
        return _UNKNOWN if unknown else _FAILED
    return _FAILED if found.left else 0


def _run_now(arguments: Arguments) -> int:
    from http.client import HTTPException  # noqa: PLC0415 - heavy

    from khealth_exporter.cli.run_now import Door  # noqa: PLC0415 - heavy

    module, _, routine = arguments.routine.partition("/")
    if not module or not routine or "/" in routine:
        raise UsageError(f"khealth: {arguments.routine!r} is not a routine: write MODULE/ROUTINE")
    try:
        door = Door.of(arguments.url, arguments.ca_file, arguments.user_file)
    except ValueError as error:
        raise UsageError(f"khealth: {error}") from error
    try:
        answer = door.ask(module, routine)
    except (OSError, HTTPException) as error:
        warn(f"khealth: no answer from {arguments.url}: {error}")
        return _UNKNOWN
    (_print if answer.exit_code == 0 else warn)(answer.lines)
    return answer.exit_code


def _demo(arguments: Arguments) -> int:
    from khealth_exporter.cli import demo  # noqa: PLC0415 - heavy, and the only use of the simulator

    if arguments.fault == demo.LIST:
        _print(demo.faults())
        return 0
    try:
        fault = demo.check(arguments.fault) if arguments.fault else None
    except ValueError as error:
        raise UsageError(f"khealth: {error}") from error
    with _startup(arguments):
        config = demo.configuration()
        _log_left_out(config)
        return demo.start(config, arguments.listen or [HERE], fault)


def _check_config(arguments: Arguments) -> int:
    from khealth_exporter.config import load  # noqa: PLC0415 - heavy

    with _config_errors():
        config = load(arguments.file)
    _print_left_out(config)
    for routine in config.routines:
        if 0 < (until := routine.settings.suspend_until) <= time.time():
            warn(f"{routine.module}/{routine.label}: suspend_until {format_moment(until)} has passed: it runs")
    _print(f"{arguments.file}: ok")
    return 0


def _convert(arguments: Arguments) -> int:
    from khealth_exporter.cli.convert import convert  # noqa: PLC0415 - heavy

    with _config_errors():
        made = convert(arguments.file)
    for warning in made.warnings:
        warn(str(warning))
    write(made.as_yaml())
    return 0


def _routines(arguments: Arguments) -> int:
    from khealth_exporter.cli import routine_catalog  # noqa: PLC0415 - heavy
    from khealth_exporter.cluster import namespace  # noqa: PLC0415 - heavy
    from khealth_exporter.config import installed  # noqa: PLC0415 - heavy
    from khealth_exporter.modules import MODULES  # noqa: PLC0415 - heavy

    shown = routine_catalog.as_json if arguments.json else routine_catalog.as_text
    _print(shown(MODULES, namespace.PERMISSIONS, installed()))
    return 0


def _canary(arguments: Arguments) -> int:
    """Run a task after flags such as --log.level; without them, `main` does, and imports less."""
    from khealth_exporter.canary.__main__ import main  # noqa: PLC0415 - the only use of it

    return main(arguments.task)


_COMMANDS: Mapping[str, Callable[[Arguments], int]] = {
    "run": _run,
    "once": _once,
    "demo": _demo,
    "check-config": _check_config,
    "convert": _convert,
    "routines": _routines,
    "run-now": _run_now,
    "sweep": _sweep,
    "canary": _canary,
}


@contextlib.contextmanager
def _config_errors() -> Iterator[None]:
    """Turn a file that cannot be used into UsageError."""
    from khealth_exporter.config import ConfigError  # noqa: PLC0415 - heavy

    try:
        yield
    except ConfigError as error:
        raise UsageError(str(error)) from error


@contextlib.contextmanager
def _startup(arguments: Arguments) -> Iterator[None]:
    """Configure the log, and turn errors that keep the command from starting into UsageError."""
    from khealth_exporter.app.commands import CannotStart  # noqa: PLC0415 - heavy
    from khealth_exporter.cli import logs  # noqa: PLC0415 - heavy

    logs.configure(arguments.log_level or DEFAULT_LEVELS[arguments.command], arguments.log_format)
    try:
        with _config_errors():
            yield
    except CannotStart as error:
        raise UsageError(f"khealth: {error}") from error


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


def _for_once(options: "Options", named: Sequence[str]) -> "Options":
    """Remove suspended routines, and print every routine that does not run, with the reason."""
    config, suspended = options.config.without_suspended(named, time.time())
    for routine in suspended:
        warn(f"skipped {routine.module}/{routine.label}: suspended; name it to run it")
    _print_left_out(config)
    return dataclasses.replace(options, config=config)


def _print_left_out(config: "Config") -> None:
    for routine in config.left_out:
        warn(f"skipped {routine.name}: {', '.join(routine.problems)}")


def _log_left_out(config: "Config") -> None:
    import structlog  # noqa: PLC0415 - heavy

    log = structlog.get_logger(__name__)
    for routine in config.left_out:
        log.warning("routine left out: required setting missing", routine=routine.name, missing=routine.missing)


def _logging_left_out(load: "Load | None") -> "Load | None":
    """Return a `load` that logs every routine that does not run because it lacks a required setting."""

    def logged(*, bound: "Bound | None" = None) -> "Config":
        assert load  # noqa: S101 - for the type checker
        config = load(bound=bound)
        _log_left_out(config)
        return config

    return logged if load else None


def _opened(path: Path | None) -> TextIO:
    """Open the report before anything starts, so that an error shows at once."""
    if path is None:
        return io.StringIO()
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"khealth: cannot write {path}: {error.strerror}") from error


def _print(text: str) -> None:
    write(f"{text}\n")
