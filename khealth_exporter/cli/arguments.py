"""The command line: every command and flag, and what they are turned into."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from khealth_exporter import __version__
from khealth_exporter.vocabulary.settings import parse_duration
from khealth_exporter.web.address import Address

_Parsed = TypeVar("_Parsed")

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("logfmt", "json")
_MODES = ("auto", "in-cluster", "kubeconfig")


@dataclass
class Arguments:
    """What the command line said, or the default of what it did not say; durations in seconds.

    It is argparse's namespace, which has to be writable and to have a `__dict__`.
    """

    command: str = ""
    log_level: str = ""
    log_format: str = "logfmt"
    config: Path | None = None
    listen: list[Address] = field(default_factory=list)
    web_config: Path | None = None
    client_mode: Literal["auto", "in-cluster", "kubeconfig"] = "auto"
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None
    poll_interval: float | None = None
    pod_ttl: float | None = None
    only: list[str] = field(default_factory=list)
    timeout: float = 300.0
    json: bool = False
    junit: Path | None = None
    fault: str | None = None
    file: Path = field(default_factory=Path)
    dry_run: bool = False
    everything: bool = False


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Return what the command line says; SystemExit with code 2 and a message if that is nothing."""
    return _parser().parse_args(argv, namespace=Arguments())


def _parser() -> argparse.ArgumentParser:
    logs = _flags()
    least = "the least that is logged; default: info, but error for once and warning for sweep"
    logs.add_argument("--log.level", dest="log_level", choices=LEVELS, help=least)
    logs.add_argument("--log.format", dest="log_format", choices=FORMATS, help="default logfmt")
    parser = argparse.ArgumentParser(
        prog="khealth",
        description="Exercises a Kubernetes cluster without pause, and says which component is broken.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        parents=[logs],
    )
    parser.add_argument("--version", action="version", version=f"khealth {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, meaning: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=meaning,
            description=f"{meaning[:1].upper()}{meaning[1:]}.",
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            parents=[*parents, logs],
        )

    _add_commands(add)
    return parser


def _add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    shared = _shared()
    run = add("run", "exercise the cluster until SIGTERM or SIGINT, and serve what is found", shared)
    _add_only(run, "MODULE", "run these alone")
    once = add("once", "make one attempt of each routine, as a smoke test", shared)
    _add_only(once, "MODULE|ROUTINE", "attempt these alone")
    once.add_argument("--json", action="store_true", help="print one JSON document")
    once.add_argument("--junit", type=Path, metavar="FILE", help="write a JUnit report too")
    demo = add("demo", "show everything with a simulated cluster inside the process")
    _add_listen(demo)
    demo.add_argument("--fault", metavar="NAME", help="what is broken in the simulated cluster; a wrong name lists all")
    check = add("check-config", "say what is wrong with a configuration file, every error at once")
    check.add_argument("file", type=Path, metavar="FILE")
    routines = add("routines", "list modules and routines: what each does, its steps, reasons, settings, permissions")
    routines.add_argument("--json", action="store_true", help="print one JSON document")
    sweep = add("sweep", "delete what dead runs left in the namespace, and nothing else", shared)
    sweep.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    everything = "every khealth object whatever its age, a living run's too"
    sweep.add_argument("--all", action="store_true", dest="everything", help=everything)
    for command in (once, sweep):
        _add_duration(command, "--timeout", "the whole command may take; default 5m")


def _flags() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)


def _shared() -> argparse.ArgumentParser:
    """Return the flags that run, once and sweep have in common, so that one can be tried with another's."""
    flags = _flags()
    flags.add_argument("--config", type=Path, metavar="FILE", help="the configuration; every key has a default")
    _add_listen(flags)
    secured = "how run is protected: TLS, client certificates, users, in the exporter-toolkit's format"
    flags.add_argument("--web.config.file", dest="web_config", type=Path, metavar="FILE", help=secured)
    flags.add_argument("--client-mode", choices=_MODES, help="where the credentials are; default auto: wherever found")
    flags.add_argument("--kubeconfig", type=Path, metavar="FILE", help="default: as kubectl finds it")
    flags.add_argument("--context", metavar="NAME", help="the kubeconfig's context; default: its current one")
    flags.add_argument("--namespace", metavar="NS", help="where canaries live; wins over the configuration")
    _add_duration(flags, "--poll-interval", "between two polls, wherever a routine has that key")
    _add_duration(flags, "--pod-ttl", "for which pods are held, wherever a routine has that key")
    return flags


def _add_listen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        type=_told(Address.parse),
        action="append",
        metavar="ADDR",
        help="where run (default :8080, every address) and demo (127.0.0.1:8080) serve, or [::]:8080; repeatable",
    )


def _add_duration(parser: argparse.ArgumentParser, flag: str, meaning: str) -> None:
    parser.add_argument(flag, type=_told(_duration), metavar="DURATION", help=f"the time, as in 5s or 2m, {meaning}")


def _add_only(parser: argparse.ArgumentParser, what: str, meaning: str) -> None:
    parser.add_argument("only", nargs="*", metavar=what, help=meaning)


def _duration(text: str) -> float:
    seconds = parse_duration(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{text!r} is no time to wait")
    return seconds


def _told(parse_text: Callable[[str], _Parsed]) -> Callable[[str], _Parsed]:
    """Return the same function, whose ValueError argparse shows in its own words."""

    def parsed(text: str) -> _Parsed:
        try:
            return parse_text(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed
