"""Parses the command line: every command and flag."""

import argparse
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from khealth_exporter import __version__
from khealth_exporter.cli import output
from khealth_exporter.vocabulary.address import Address
from khealth_exporter.vocabulary.settings import parse_duration

_Parsed = TypeVar("_Parsed")

LEVELS = ("debug", "info", "warning", "error")
DEFAULT_LEVELS = {"run": "info", "once": "error", "demo": "info", "sweep": "warning"}
"""Minimum log level of each command that logs; a command that prints a report at the end says less before it."""
FORMATS = ("logfmt", "json")
ORIGINS = ("kuberhealthy",)
"""What `convert` understands."""
_FOR_RUN = frozenset({"--listen", "--web.config.file", "--poll-interval"})
"""Shared flags that only run uses."""
_MODES = ("auto", "in-cluster", "kubeconfig")


@dataclass
class Arguments:
    """The arguments of the command line, or their defaults; durations in seconds.

    It is argparse's namespace, which must be writable and have a `__dict__`.
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
    origin: str = ""
    file: Path = field(default_factory=Path)
    dry_run: bool = False
    everything: bool = False
    task: list[str] = field(default_factory=list)
    routine: str = ""
    url: str = "http://127.0.0.1:8080"
    ca_file: Path | None = None
    user_file: Path | None = None


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Return the arguments; raise SystemExit with code 2, and print a message, if they are invalid."""
    return _parser().parse_args(argv, namespace=Arguments())


class _Parser(argparse.ArgumentParser):
    """A parser whose help may be CannotWrite; after a usage error it exits with 2 even if it cannot print that."""

    def error(self, message: str) -> NoReturn:
        output.warn(f"{self.format_usage()}{self.prog}: error: {message}")
        raise SystemExit(2)

    def _print_message(self, message: str, file: object = None) -> None:  # noqa: ARG002 - always stdout
        output.write(message)


def _parser() -> _Parser:
    parser = _Parser(
        prog="khealth",
        description="Continuously tests a Kubernetes cluster with canaries, and names the component that is broken.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        parents=[_logs(", ".join(f"{level} for {command}" for command, level in DEFAULT_LEVELS.items()))],
    )
    parser.add_argument("--version", action="version", version=f"khealth {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, meaning: str, *parents: _Parser) -> _Parser:
        return commands.add_parser(
            name,
            help=meaning,
            description=f"{meaning[:1].upper()}{meaning[1:]}.",
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            parents=[*parents, _logs(DEFAULT_LEVELS.get(name, ""))],
        )

    _add_commands(add)
    return parser


def _add_commands(add: Callable[..., _Parser]) -> None:
    serving = "test the cluster until SIGTERM or SIGINT, and serve metrics and the status page"
    run = add("run", serving, _shared())
    _add_only(run, "MODULE", "run only these modules; ROUTINE and MODULE/ROUTINE select routines")
    once = add("once", "run one attempt of each routine, as a smoke test", _shared(unused=_FOR_RUN))
    _add_only(once, "MODULE|ROUTINE", "run only these modules and routines; MODULE/ROUTINE selects one routine")
    once.add_argument("--json", action="store_true", help="print one JSON document")
    once.add_argument("--junit", type=Path, metavar="FILE", help="also write a JUnit report")
    demo = add("demo", "run against a simulated cluster inside the process; no cluster needed")
    _add_listen(demo, "127.0.0.1:8080")
    demo.add_argument(
        "--fault", metavar="NAME", help="fault of the simulated cluster, NAME:NODE for one node; `list` lists them"
    )
    check = add("check-config", "check a configuration file, and print every error in it")
    check.add_argument("file", type=Path, metavar="FILE")
    convert = add("convert", "turn manifests of another monitor into a configuration, on standard output")
    convert.add_argument("origin", choices=ORIGINS, help="whose manifests they are")
    convert.add_argument("file", type=Path, metavar="FILE", help="KuberhealthyCheck and HealthCheck manifests")
    routines = add("routines", "list modules and routines, with their steps, reasons, settings and permissions")
    routines.add_argument("--json", action="store_true", help="print one JSON document")
    _add_run_now(add("run-now", "ask a running khealth to begin an attempt of a routine at once", _shared(unused=None)))
    unused = _FOR_RUN | {"--pod-ttl"}
    sweep = add("sweep", "delete the objects that dead runs left in the namespace", _shared(unused=unused))
    sweep.add_argument("--dry-run", action="store_true", help="print what would be deleted, and delete nothing")
    everything = "delete all khealth objects in the namespace, including those of running khealths"
    sweep.add_argument("--all", action="store_true", dest="everything", help=everything)
    canary = add("canary", "run one task inside a canary pod; khealth starts it, users do not need it")
    canary.add_argument("task", nargs=argparse.REMAINDER, metavar="TASK", help="see `khealth canary --help`")
    for command in (once, sweep):
        _add_duration(command, "--timeout", "time limit of the command; default 5m")


def _add_run_now(parser: _Parser) -> None:
    parser.add_argument("routine", metavar="MODULE/ROUTINE", help="the routine, as in the configuration")
    parser.add_argument("--url", metavar="URL", help=f"where khealth serves its status page; default {Arguments.url}")
    parser.add_argument(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="certificates that the server's must be signed by; default: the system's",
    )
    user = "file with USER:PASSWORD in one line, where khealth asks for a password"
    parser.add_argument("--user-file", type=Path, metavar="FILE", help=user)


def _flags() -> _Parser:
    return _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)


def _logs(default: str) -> _Parser:
    """Return the flags of the log; the help of a command without a `default` level, which logs nothing, omits them."""
    flags = _flags()
    level = f"minimum log level; default {default}" if default else argparse.SUPPRESS
    form = "log format; default logfmt" if default else argparse.SUPPRESS
    flags.add_argument("--log.level", dest="log_level", choices=LEVELS, help=level)
    flags.add_argument("--log.format", dest="log_format", choices=FORMATS, help=form)
    return flags


def _shared(*, unused: AbstractSet[str] | None = frozenset()) -> _Parser:
    """Return the flags that run, once, sweep and run-now share: each accepts the flags of the others.

    The help of a command does not list those that are `unused`; None for all of them.
    """
    flags = _flags()
    flags.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration file; default: none, every key has a default"
    )
    _add_listen(flags, ":8080 (all interfaces)")
    secured = "TLS and authentication, in the format of the Prometheus exporter-toolkit"
    flags.add_argument("--web.config.file", dest="web_config", type=Path, metavar="FILE", help=secured)
    flags.add_argument(
        "--client-mode",
        choices=_MODES,
        help="source of the credentials; default auto: a named kubeconfig, else the pod's service account",
    )
    flags.add_argument(
        "--kubeconfig", type=_file, metavar="FILE", help="kubeconfig file; default: the one that kubectl uses"
    )
    flags.add_argument("--context", metavar="NAME", help="kubeconfig context; default: the current context")
    flags.add_argument("--namespace", metavar="NS", help="namespace for canaries; overrides the configuration")
    _add_duration(
        flags, "--poll-interval", "poll_interval for every routine that has this key; overrides the configuration"
    )
    _add_duration(flags, "--pod-ttl", "pod_ttl for every routine that has this key; overrides the configuration")
    for action in flags._actions:  # noqa: SLF001 - argparse has no public list
        if unused is None or not unused.isdisjoint(action.option_strings):
            action.help = argparse.SUPPRESS
    return flags


def _add_listen(parser: _Parser, default: str) -> None:
    parser.add_argument(
        "--listen",
        type=_with_message(Address.parse),
        action="append",
        metavar="ADDR",
        help=f"address to listen on; default {default}; repeatable",
    )


def _add_duration(parser: _Parser, flag: str, meaning: str) -> None:
    parser.add_argument(
        flag, type=_with_message(_duration), metavar="DURATION", help=f"{meaning}; as in 500ms, 5s or 2m"
    )


def _add_only(parser: _Parser, what: str, meaning: str) -> None:
    parser.add_argument("only", nargs="*", metavar=what, help=meaning)


def _file(text: str) -> Path | None:
    """Return a path; an empty one is none, as kubectl has it: `--kubeconfig "$FILE"`."""
    return Path(text) if text else None


def _duration(text: str) -> float:
    seconds = parse_duration(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{text!r} is not allowed: the duration must be greater than 0")
    return seconds


def _with_message(parse_text: Callable[[str], _Parsed]) -> Callable[[str], _Parsed]:
    """Return the function with a ValueError that argparse prints as it is."""

    def parsed(text: str) -> _Parsed:
        try:
            return parse_text(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed
