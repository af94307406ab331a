"""The command line: what is accepted, what is refused, and with which code it ends."""

import asyncio
import contextlib
import functools
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar
from xml.etree.ElementTree import parse as parse_xml

import pytest
import structlog
import trustme

from khealth_exporter import __version__, config
from khealth_exporter.app import commands as app
from khealth_exporter.app.commands import CannotStart, OnceResult, Options, SweepResult
from khealth_exporter.cli import demo, logs, main
from khealth_exporter.cli.arguments import DEFAULT_LEVELS, parse
from khealth_exporter.config import ConfigError, Problem, load
from khealth_exporter.core.snapshot import Attempt, RoutineStatus, Snapshot
from khealth_exporter.modules import MODULES, Module
from khealth_exporter.routines.rcscheduler import RcScheduler, RcSchedulerSettings
from khealth_exporter.simulator.faults import FAULTS, NODE_FAULTS
from khealth_exporter.vocabulary.address import Address
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Phase
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.verdict import Failed, Verdict

WRONG = Path(__file__).parents[1] / "config" / "testdata" / "namespace_invalid.yaml"
RIGHT = Path(__file__).parents[1] / "config" / "testdata" / "valid_two_pools.yaml"
ATTEMPT = Attempt(1, 0.0, Phase.CLEANUP, 1.0, Verdict(Result.FAILURE, Reason.POD_CRASHED, component=Component.NODE))
FOUND = OnceResult(
    (Snapshot("rcscheduler", (RoutineStatus("rcscheduler", "rcscheduler", 60.0, attempts=(ATTEMPT,)),)),),
    "https://cluster:6443",
    answered=True,
)


class Started:
    """Stands for `app.start`: notes what was to be started, and answers with `result`."""

    def __init__(self) -> None:
        self.result: object = 0
        self.main: object = None
        self.arguments: tuple[Any, ...] = ()
        self.keywords: dict[str, object] = {}

    def __call__(self, main: Callable[..., Coroutine[Any, Any, Any]], *arguments: object, **keywords: object) -> Any:
        self.main, self.arguments, self.keywords = main, arguments, keywords
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    @property
    def options(self) -> Options:
        return next(argument for argument in self.arguments if isinstance(argument, Options))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Replace the event loop: nothing reaches for a cluster."""
    started = Started()
    monkeypatch.setattr(app, "start", started)
    return started


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def _refused(*argv: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    return ended.value.code


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["walk"],
        ["torture"],
        ["run", "--listen", "8080"],
        ["run", "--listen", ":70000"],
        ["run", "--poll-interval", "5"],
        ["run", "--pod-ttl", "0s"],
        ["run", "--client-mode", "none"],
        ["run", "--timeout", "5m"],
        ["run", "--name", "khealth"],
        ["once", "--log.level", "loud"],
        ["once", "--log.format", "xml"],
        ["check-config"],
        ["sweep", "rcscheduler"],
    ],
    ids=" ".join,
)
def test_a_usage_error_ends_with_2(argv: list[str]) -> None:
    """What cannot be understood starts nothing."""
    expected = 2
    assert expected == _refused(*argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--listen", "8080"], "--listen: '8080' is not an address: write :8080, 127.0.0.1:8080 or [::]:8080"),
        (["--pod-ttl", "5"], "--pod-ttl: '5' is not a duration: write a number with its unit, as in 500ms, 5s or 2m"),
        (["--pod-ttl", "0s"], "--pod-ttl: '0s' is not allowed: the duration must be greater than 0"),
    ],
)
def test_a_wrong_value_is_told_in_a_sentence(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The flag is named, and what it takes."""
    _refused("run", *argv)
    assert capsys.readouterr().err.endswith(f"khealth run: error: argument {message}\n")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug report begins with it."""
    _refused("--version")
    expected = f"khealth {__version__}\n"
    assert expected == capsys.readouterr().out


def test_flags_are_read() -> None:
    """Every flag of `run` arrives as what it stands for."""
    argv = [
        "run", "--config", "khealth.yaml", "--listen", ":1", "--listen", "[::1]:2", "--client-mode", "kubeconfig",
        "--kubeconfig", "kube", "--context", "lab", "--namespace", "canaries", "--poll-interval", "500ms",
        "--pod-ttl", "1m30s", "--log.level", "debug", "--log.format", "json", "--web.config.file", "web.yaml", "rcscheduler",
    ]  # fmt: skip
    found = parse(argv)
    expected = (
        Path("khealth.yaml"), [Address("", 1), Address("::1", 2)], "kubeconfig", Path("kube"), "lab", "canaries", 0.5,
        90.0, "debug", "json", Path("web.yaml"), ["rcscheduler"],
    )  # fmt: skip
    assert expected == (
        found.config, found.listen, found.client_mode, found.kubeconfig, found.context, found.namespace,
        found.poll_interval, found.pod_ttl, found.log_level, found.log_format, found.web_config, found.only,
    )  # fmt: skip


@pytest.mark.parametrize("argv", [["--log.level", "error", "routines"], ["routines", "--log.level", "error"]])
def test_log_flags_may_stand_before_or_after_the_command(argv: list[str]) -> None:
    """Both are natural."""
    expected = "error"
    assert expected == parse(argv).log_level


@pytest.mark.parametrize("command", ["once", "sweep"])
def test_a_bounded_command_takes_five_minutes_unless_told(command: str) -> None:
    """A smoke test in CI ends, whatever the cluster does."""
    expected = 300.0
    assert expected == parse([command]).timeout


def test_an_empty_kubeconfig_is_none() -> None:
    """As kubectl has it: `--kubeconfig "$FILE"` in a script."""
    assert parse(["once", "--kubeconfig", ""]).kubeconfig is None


def test_run_serves_everywhere_unless_told(started: Started) -> None:
    """Port 8080 of every address."""
    main(["run"])
    expected = (app.run, (Address("", 8080),))
    assert expected == (started.main, started.options.listen)


def test_run_hands_over_what_the_command_line_says(started: Started) -> None:
    """File, overrides and credentials arrive where they are needed."""
    flags = ["--namespace", "canaries", "--pod-ttl", "10s", "--kubeconfig", "kube", "--context", "lab"]
    main(["run", "--config", str(RIGHT), *flags, "pool-b"])
    expected = Options(
        load(RIGHT, namespace="canaries", pod_ttl=10.0, only=["pool-b"]),
        kubeconfig=Path("kube"),
        context="lab",
        listen=(Address("", 8080),),
    )
    assert expected == started.options


@pytest.mark.parametrize("code", [0, 3])
def test_run_ends_with_the_code_of_the_run(started: Started, code: int) -> None:
    """The exit code is what the run says."""
    started.result = code
    assert code == main(["run"])


@pytest.mark.parametrize("command", ["run", "once", "sweep"])
def test_a_wrong_configuration_starts_nothing(
    started: Started, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every problem is on standard error, the code is 2."""
    code = main([command, "--config", str(WRONG)])
    problem = f"{WRONG}:1:12: namespace: invalid namespace name 'Khealth_1'"
    rule = "must be at most 63 lowercase letters, digits or '-', and start and end with a letter or digit"
    expected = (2, None, f"{problem}: {rule}\n")
    assert expected == (code, started.main, capsys.readouterr().err)


@pytest.mark.parametrize("command", ["run", "once"])
@pytest.mark.usefixtures("started")
def test_an_unknown_module_is_told_with_those_there_are(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error does not pass for a healthy cluster."""
    known = ", ".join(sorted({name for m in MODULES for name in (m.name, *(kind.name for kind in m.routines))}))
    expected = (2, f"nonsense: unknown module or routine; known: {known}\n")
    assert expected == (main([command, "nonsense"]), capsys.readouterr().err)


@pytest.mark.parametrize("command", ["run", "once", "sweep", "demo"])
def test_what_cannot_start_ends_with_2(started: Started, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Credentials and ports that cannot be used are told in a sentence."""
    started.result = CannotStart("cannot listen on :8080: address already in use")
    expected = (2, "khealth: cannot listen on :8080: address already in use\n")
    assert expected == (main([command]), capsys.readouterr().err)


def test_run_is_told_where_its_protection_is(started: Started) -> None:
    """The web configuration goes to the server."""
    main(["run", "--web.config.file", "web.yaml"])
    assert Path("web.yaml") == started.options.web_config


def test_a_web_configuration_that_cannot_be_used_ends_with_2(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that is wrong with it is told, and nothing is served without its protection."""
    problem = Problem("web.yaml", 3, 15, "basic_auth_users.anna", "is not a bcrypt hash")
    started.result = ConfigError((problem,))
    expected = (2, "web.yaml:3:15: basic_auth_users.anna: is not a bcrypt hash\n")
    assert expected == (main(["run"]), capsys.readouterr().err)


def test_once_prints_text_and_ends_with_the_reports_code(started: Started, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no terminal listens, there is no color."""
    started.result = FOUND
    code = main(["once"])
    text = f"""\
khealth {__version__}  https://cluster:6443

rcscheduler/rcscheduler: failure in 1.00s
  pod_crashed (node)

result: failure
"""
    expected = (1, text)
    assert expected == (code, capsys.readouterr().out)


def test_once_prints_one_document(started: Started, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is JSON and nothing else."""
    started.result = FOUND
    main(["once", "--json"])
    expected = "failure"
    assert expected == json.loads(capsys.readouterr().out)["result"]


def test_once_writes_a_junit_report_besides(
    started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CI systems read the file, people the text."""
    started.result = FOUND
    main(["once", "--junit", str(tmp_path / "junit.xml")])
    root = parse_xml(tmp_path / "junit.xml").getroot()  # noqa: S314 - we wrote it ourselves
    assert root is not None
    expected = ("1", True)
    assert expected == (root.get("failures"), "result: failure" in capsys.readouterr().out)


def test_once_leaves_out_what_is_suspended_and_says_so(
    started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, so that the document stays one; a routine that is named is attempted all the same."""
    path = tmp_path / "khealth.yaml"
    path.write_text("modules: {rcscheduler: {suspend: true, a: {kind: rcscheduler}, b: {kind: rcscheduler}}}")
    started.result = FOUND
    main(["once", "--config", str(path), "a", "rcscheduler"])
    told = "skipped rcscheduler/b: suspended; name it to run it\n"
    labels = [(routine.label, routine.settings.suspend) for routine in started.options.config.routines]
    assert ([("a", False)], told) == (labels, capsys.readouterr().err)


class ProbeSettings(RcSchedulerSettings):
    """A setting without a default."""

    url: str


class Probe(RcScheduler):
    """A kind that does not run unless it is configured."""

    name: ClassVar[str] = "probe"
    Settings: ClassVar[type[RcSchedulerSettings]] = ProbeSettings


@pytest.fixture
def custom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a module with a routine that has a required setting."""
    modules = (*MODULES, Module("custom", "", (RcScheduler, Probe), default=False))
    monkeypatch.setattr(config, "load", functools.partial(load, modules=modules))


SKIPPED = "skipped custom/probe: modules.custom.probe.url is missing\n"


@pytest.mark.usefixtures("custom")
def test_once_with_a_module_skips_a_routine_without_its_required_setting(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other routines run, and standard error has a line about it."""
    started.result = FOUND
    main(["once", "custom"])
    labels = [routine.label for routine in started.options.config.routines]
    assert (["rcscheduler"], SKIPPED) == (labels, capsys.readouterr().err)


@pytest.mark.usefixtures("custom")
@pytest.mark.parametrize("command", ["run", "once"])
def test_a_named_routine_without_its_required_setting_starts_nothing(
    started: Started, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the key."""
    code = main([command, "custom/probe"])
    expected = (2, None, "custom/probe: modules.custom.probe.url is missing\n")
    assert expected == (code, started.main, capsys.readouterr().err)


@pytest.mark.usefixtures("custom")
def test_run_without_names_leaves_out_what_is_off_by_default(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a message: nothing is wrong."""
    main(["run"])
    modules = {routine.module for routine in started.options.config.routines}
    assert (False, "") == ("custom" in modules, capsys.readouterr().err)


@pytest.mark.usefixtures("custom")
def test_run_logs_a_routine_that_lacks_a_setting_at_start_and_at_reload(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module was named, and a part of it does not run."""
    main(["run", "custom"])
    assert started.options.load is not None
    started.options.load()
    told = 'level=warning msg="routine left out: required setting missing" routine=custom/probe'
    assert [True, True] == [told in line for line in capsys.readouterr().err.splitlines()]


@pytest.mark.usefixtures("custom")
def test_check_config_reports_a_routine_that_lacks_a_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is valid, but does not run all that it mentions."""
    path = tmp_path / "khealth.yaml"
    path.write_text("modules: {custom: }")
    assert (0, f"{path}: ok\n", SKIPPED) == (main(["check-config", str(path)]), *capsys.readouterr())


def test_run_reloads_with_what_the_command_line_says(started: Started, tmp_path: Path) -> None:
    """What it loads again is what it loaded, from the file as it is then."""
    path = tmp_path / "khealth.yaml"
    path.write_text("modules: {rcscheduler: {a: {kind: rcscheduler}, b: {kind: rcscheduler}}}")
    main(["run", "--config", str(path), "--pod-ttl", "9s", "--namespace", "canaries", "b"])
    path.write_text("modules: {rcscheduler: {b: {kind: rcscheduler, replicas: 7}, c: {kind: rcscheduler}}}")
    assert started.options.load is not None
    again = started.options.load()
    (routine,) = again.routines
    assert ("canaries", "b", 9.0, 7) == (
        again.namespace,
        routine.label,
        routine.settings.hold,
        routine.settings.model_dump()["replicas"],
    )


def test_a_demo_has_nothing_to_load_again(started: Started) -> None:
    """SIGHUP, as when its terminal is closed, ends it."""
    main(["demo"])
    assert started.options.load is None


def test_a_junit_report_that_cannot_be_written_starts_nothing(
    started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody waits for five minutes to learn that the folder is missing."""
    path = tmp_path / "none" / "junit.xml"
    code = main(["once", "--junit", str(path)])
    expected = (2, None, f"khealth: cannot write {path}: No such file or directory\n")
    assert expected == (code, started.main, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("found", "code", "out", "err"),
    [
        (SweepResult(namespace="a"), 0, "nothing to delete in namespace a\n", ""),
        (
            SweepResult(kept=2, namespace="a"),
            0,
            """\
nothing to delete in namespace a
kept 2 objects that may belong to a running khealth; --all deletes them too
""",
            "",
        ),
        (SweepResult(("pod/a",)), 0, "deleted pod/a\n", ""),
        (SweepResult(("pod/a",), ("pod/a",)), 1, "deleted pod/a\n", "not deleted within 5s: pod/a\n"),
        (
            SweepResult(failed=Failed(Reason.API_UNREACHABLE, "no route")),
            3,
            "",
            "sweep failed: api_unreachable: no route\n",
        ),
        (SweepResult(failed=Failed(Reason.FORBIDDEN)), 3, "", "sweep failed: forbidden\n"),
        (SweepResult(failed=Failed(Reason.API_ERROR)), 1, "", "sweep failed: api_error\n"),
    ],
)
def test_sweep_tells_what_it_did(  # noqa: PLR0913, PLR0917 - a row of the table
    started: Started, capsys: pytest.CaptureFixture[str], found: SweepResult, code: int, out: str, err: str
) -> None:
    """What was deleted is on standard output, what went wrong on standard error and in the code."""
    started.result = found
    expected = (code, out, err)
    assert expected == (main(["sweep", "--timeout", "5s"]), *capsys.readouterr())


def test_a_dry_sweep_says_so(started: Started, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody takes a plan for a deed."""
    started.result = SweepResult(("pod/a",))
    main(["sweep", "--dry-run", "--all"])
    expected = ({"dry_run": True, "everything": True}, "would delete pod/a\n")
    assert expected == (started.keywords, capsys.readouterr().out)


def test_check_config_approves(capsys: pytest.CaptureFixture[str]) -> None:
    """A good file is called good."""
    expected = (0, f"{RIGHT}: ok\n")
    assert expected == (main(["check-config", str(RIGHT)]), capsys.readouterr().out)


def test_check_config_warns_of_a_window_that_has_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no error: the file may have been right yesterday."""
    path = tmp_path / "khealth.yaml"
    path.write_text(
        "modules: {rcscheduler: {suspend_until: 2020-01-01T00:00:00Z}, control-plane: {suspend_until: 2999-01-01T00:00:00Z}}"
    )
    warning = "rcscheduler/rcscheduler: suspend_until 2020-01-01T00:00:00Z has passed: it runs\n"
    assert (0, f"{path}: ok\n", warning) == (main(["check-config", str(path)]), *capsys.readouterr())


def test_check_config_tells_every_problem(capsys: pytest.CaptureFixture[str]) -> None:
    """All at once, one a line, on standard error."""
    code = main(["check-config", str(WRONG.with_stem("several"))])
    out, err = capsys.readouterr()
    expected = (2, "", 6)
    assert expected == (code, out, len(err.splitlines()))


def test_routines_are_listed_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Steps with their component, and settings with their default, are in the list."""
    main(["routines"])
    lines = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert {
        "pod_not_scheduled scheduler failure",
        "interval duration, default 1m Attempts begin this often, on a fixed grid.",
    } <= lines


def test_routines_are_listed_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    """The document lists every module."""
    main(["routines", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [module.name for module in MODULES] == [module["module"] for module in document["modules"]]


def test_demo_runs_against_a_cluster_of_its_own(started: Started) -> None:
    """No kubeconfig of the user's is looked at."""
    main(["demo", "--listen", "127.0.0.1:0"])
    options = started.options
    expected = ("kubeconfig", True, (Address("127.0.0.1", 0),))
    own = options.kubeconfig is not None and options.kubeconfig.parent.name.startswith("khealth-demo-")
    assert expected == (options.client_mode, own, options.listen)


def test_demo_tells_what_to_open(capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger needs no documentation."""
    demo._announce(None, (Address("127.0.0.1", 8080),))
    expected = """\
khealth tests a simulated cluster inside this process; no real cluster is involved. Open
  http://127.0.0.1:8080/         status page
  http://127.0.0.1:8080/metrics  metrics for Prometheus
  http://127.0.0.1:8080/status   the state as JSON; http://127.0.0.1:8080/health has it in one line
Press Ctrl-C to stop.
"""
    assert expected == capsys.readouterr().out


def test_demo_tells_what_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    """Who orders a fault is told what it does, and where to see it."""
    demo._announce("scheduler-stalled", (Address("127.0.0.1", 8080),))
    expected = [
        "Injected fault: the scheduler binds no pods and reports nothing.",
        "Within a minute http://127.0.0.1:8080/health shows the verdict, and the status page shows the evidence.",
    ]
    assert expected == capsys.readouterr().out.splitlines()[-2:]


@pytest.mark.parametrize("fault", sorted(NODE_FAULTS))
def test_demo_names_the_one_node_that_is_broken(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is told of all nodes is not true of one."""
    demo._announce(f"{fault}:node-2", (Address("127.0.0.1", 8080),))
    told = capsys.readouterr().out.splitlines()[-2]
    assert (True, False, False) == ("node-2" in told, "kubelets" in told, "one node" in told)


def test_demo_tells_what_a_kubelet_of_one_node_does(capsys: pytest.CaptureFixture[str]) -> None:
    """In the singular."""
    demo._announce("kubelet-stalled:node-1", (Address("127.0.0.1", 8080),))
    expected = "Injected fault: the kubelet of node-1 starts and reports nothing, so that the node becomes NotReady."
    assert expected == capsys.readouterr().out.splitlines()[-2]


def test_a_node_that_the_demo_does_not_have_is_refused(started: Started, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing would break, although the fault is announced."""
    code = main(["demo", "--fault", "kubelet-stalled:node-9"])
    told = "khealth: unknown node 'node-9'; the simulated cluster has node-1, node-2\n"
    assert (2, None, told) == (code, started.main, capsys.readouterr().err)


def test_demo_has_attempts_that_fit_their_interval() -> None:
    """The faster pace keeps the rules of the configuration."""
    chosen = {routine.label: routine.settings for routine in demo.configuration().routines}
    late = {name for name, found in chosen.items() if 2 * found.timeout + found.hold > found.interval}
    assert (set(), True) == (late, chosen["rcscheduler"].pause <= chosen["rcscheduler"].hold)
    for settings in chosen.values():
        assert settings == type(settings).model_validate(settings.model_dump())


def test_demo_runs_every_routine() -> None:
    """Also those that are off by default, or that need an image."""
    known = {(module.name, kind.name) for module in MODULES for kind in module.routines}
    assert known == {(routine.module, routine.label) for routine in demo.configuration().routines}


def test_an_unknown_fault_is_told_with_those_there_are(started: Started, capsys: pytest.CaptureFixture[str]) -> None:
    """The list is the documentation."""
    code = main(["demo", "--fault", "earthquake"])
    told = " ".join(capsys.readouterr().err.split()[:10])
    expected = (2, None, "khealth: unknown fault 'earthquake'; known faults: scheduler-stalled the scheduler binds")
    assert expected == (code, started.main, told)


def test_faults_are_listed(started: Started, capsys: pytest.CaptureFixture[str]) -> None:
    """Each on a line of its own, with its effect; nothing starts."""
    code = main(["demo", "--fault", "list"])
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert (0, None, list(FAULTS)) == (code, started.main, names)


def test_demo_logs_a_routine_that_lacks_a_setting(
    started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The author of a routine sees why it does not run: the demo has no configuration that could set it."""
    modules = (*MODULES, Module("own", "", (Probe,)))
    monkeypatch.setattr(demo, "MODULES", modules)
    main(["demo"])
    told = 'level=warning msg="routine left out: required setting missing" routine=own/probe'
    assert ("own/probe", True) == (started.options.config.left_out[0].name, told in capsys.readouterr().err)


def _logged(form: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    logs.configure("info", form)
    structlog.get_logger("khealth_exporter.app").info("khealth serves", port=8080)
    structlog.get_logger("khealth_exporter.app").debug("too much")
    logging.getLogger("aiohttp.server").warning("odd %s", "request")
    logging.getLogger("aiohttp.server").info("too much")
    return capsys.readouterr().err.splitlines()


def test_the_log_is_logfmt(capsys: pytest.CaptureFixture[str]) -> None:
    """A line an entry, the libraries' warnings among them, after the time."""
    expected = [
        'level=info msg="khealth serves" port=8080 logger=khealth_exporter.app',
        'level=warning msg="odd request" logger=aiohttp.server',
    ]
    assert expected == [line.partition(" ")[2] for line in _logged("logfmt", capsys)]


def test_the_log_is_json_for_who_wants_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The same entries, as documents."""
    expected = ["khealth serves", "odd request"]
    assert expected == [json.loads(line)["msg"] for line in _logged("json", capsys)]


def test_times_in_the_log_are_utc(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs of several machines can be laid side by side."""
    assert _logged("logfmt", capsys)[0].split()[0].endswith("Z")


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        ("run", set()),
        ("once", {"--listen", "--web.config.file", "--poll-interval"}),
        ("sweep", {"--listen", "--web.config.file", "--poll-interval", "--pod-ttl"}),
    ],
)
def test_help_lists_the_flags_that_a_command_uses(
    command: str, unused: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It accepts those that only another one uses, so that scripts can use one list of flags."""
    shared = {
        "--config": "a", "--listen": ":1", "--web.config.file": "a", "--client-mode": "auto", "--kubeconfig": "a",
        "--context": "a", "--namespace": "a", "--poll-interval": "1s", "--pod-ttl": "1s",
    }  # fmt: skip
    parse([command, *(word for flag in shared.items() for word in flag)])
    assert 0 == _refused(command, "--help")
    listed = set(re.findall(r"--[a-z.-]+", capsys.readouterr().out))
    assert shared.keys() - unused == shared.keys() & listed


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("run",), "minimum log level; default info"),
        (("once",), "minimum log level; default error"),
        (("demo",), "minimum log level; default info"),
        (("sweep",), "minimum log level; default warning"),
        (("check-config",), ""),
        (("routines",), ""),
        ((), "minimum log level; default info for run, error for once, info for demo, warning for sweep"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "khealth",
)
def test_help_tells_the_log_level_of_its_command(
    command: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that logs nothing accepts the flags, and does not list them."""
    monkeypatch.setenv("COLUMNS", "1000")
    assert 0 == _refused(*command, "--help")
    shown = capsys.readouterr().out
    assert [told] * bool(told) == re.findall("minimum log level.*", shown)
    assert bool(told) is ("--log.format" in shown)


@pytest.mark.parametrize(("command", "level"), sorted(DEFAULT_LEVELS.items()))
@pytest.mark.usefixtures("started")
def test_a_command_logs_from_the_level_that_its_help_tells(
    command: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One table tells both."""
    configured: list[str] = []
    monkeypatch.setattr(logs, "configure", lambda chosen, _form: configured.append(chosen))
    main([command])
    assert [level] == configured


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_loads_nothing_heavy(option: str) -> None:
    """Completion and curiosity do not wait for a Kubernetes client."""
    program = """
import sys
from khealth_exporter.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    print(sorted({"kubernetes", "aiohttp", "structlog", "khealth_exporter.simulator"} & sys.modules.keys()))
"""
    ran = subprocess.run([sys.executable, "-c", program, option], check=True, capture_output=True, text=True)  # noqa: S603
    expected = "[]"
    assert expected == ran.stdout.splitlines()[-1]


def test_no_certificate_authorities_are_kept_that_nothing_uses(tmp_path: Path) -> None:
    """The system's are loaded when aiohttp is imported; what the environment says of them stays."""
    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authority))
    program = """
import khealth_exporter.app.commands, aiohttp.connector, os, ssl
kept = vars(aiohttp.connector)["_SSL_CONTEXT_VERIFIED"]
print(len(kept.get_ca_certs()), len(ssl.create_default_context().get_ca_certs()), kept.verify_mode.name)
"""
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "SSL_CERT_FILE": str(authority)},
    )
    expected = "0 1 CERT_REQUIRED\n"
    assert expected == ran.stdout


def test_the_module_is_the_command() -> None:
    """`python -m khealth_exporter` is `khealth`."""
    ran = subprocess.run(
        [sys.executable, "-m", "khealth_exporter", "--version"], check=True, capture_output=True, text=True
    )
    expected = f"khealth {__version__}\n"
    assert expected == ran.stdout


def test_a_reader_that_goes_is_no_crash() -> None:
    """`khealth routines | head` ends quietly."""
    with subprocess.Popen(
        [sys.executable, "-m", "khealth_exporter", "routines"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        expected = (b"", 141)
        assert expected == (running.stderr.read(), running.wait())


CLOSED = "it is closed"
FULL = "No space left on device"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("routines >&-", 3, CLOSED),
        ("routines >&- <&-", 3, CLOSED),
        ("routines --json >/dev/full", 3, FULL),
        ("check-config $RIGHT >/dev/full", 3, FULL),
        ("demo --fault list >/dev/full", 3, FULL),
        ("--help >/dev/full", 3, FULL),
        ("once --help >&-", 3, CLOSED),
        ("--version >/dev/full", 3, FULL),
    ],
)
def test_output_that_cannot_be_written_is_one_line_and_code_3(words: str, code: int, told: str) -> None:
    """For every command: no traceback, and not 1, which says that the cluster failed."""
    expected = (code, f"khealth: cannot write to standard output: {told}\n")
    assert expected == _in_shell(words)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("walk 2>/dev/full", 2),
        ("walk 2>&-", 2),
        ("walk >&- 2>&-", 2),
        ("check-config $WRONG 2>/dev/full", 2),
        ("check-config $WRONG 2>&-", 2),
        ("check-config $RIGHT >/dev/null 2>/dev/full", 0),
        ("routines >/dev/full 2>/dev/full", 3),
        ("routines >&- 2>&-", 3),
    ],
)
def test_a_message_that_cannot_be_written_changes_no_code(words: str, code: int) -> None:
    """Standard error explains a code; the code stands without it."""
    assert (code, "") == _in_shell(words)


def _in_shell(words: str) -> tuple[int, str]:
    """Return the code of `khealth WORDS`, redirections among them, and what standard error has."""
    script = f'RIGHT="$1" WRONG="$2"; exec "$0" -m khealth_exporter {words}'
    ran = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", script, sys.executable, RIGHT, WRONG], capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stderr


@contextlib.contextmanager
def _full() -> Iterator[None]:
    """Let standard output be a full disk."""
    stream = Path("/dev/full").open("w")  # noqa: SIM115 - to close it fails too
    with contextlib.redirect_stdout(stream):
        yield
    with contextlib.suppress(OSError):
        stream.close()


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_junit_report_is_written_though_standard_output_is_full(
    started: Started, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can be written is written; the code is not that of a verdict, because nobody can read it."""
    started.result = FOUND
    path = tmp_path / "junit.xml"
    with _full():
        code = main(["once", *flags, "--junit", str(path)])
    expected = (3, "1", f"khealth: cannot write to standard output: {FULL}\n")
    assert expected == (code, parse_xml(path).getroot().get("failures"), capsys.readouterr().err)  # noqa: S314


def test_a_report_for_a_closed_standard_output_is_one_line(
    started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with `khealth once >&-`."""
    started.result = FOUND
    monkeypatch.setattr(sys, "stdout", None)
    expected = (3, f"khealth: cannot write to standard output: {CLOSED}\n")
    assert expected == (main(["once"]), capsys.readouterr().err)


def test_the_text_is_written_though_the_junit_report_cannot_be(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text is whole, and a line says what is missing."""
    started.result = FOUND
    code = main(["once", "--junit", "/dev/full"])
    out, err = capsys.readouterr()
    expected = (3, "result: failure", f"khealth: cannot write /dev/full: {FULL}\n")
    assert expected == (code, out.splitlines()[-1], err)


def test_each_report_that_cannot_be_written_is_named(started: Started, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each."""
    started.result = FOUND
    with _full():
        code = main(["once", "--junit", "/dev/full"])
    lines = [f"khealth: cannot write {what}: {FULL}" for what in ("/dev/full", "to standard output")]
    assert (3, lines) == (code, capsys.readouterr().err.splitlines())


def test_a_sweep_tells_what_is_left_though_standard_output_is_full(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    """What goes to standard error does not depend on standard output."""
    started.result = SweepResult(("pod/a",), ("pod/b",))
    with _full():
        code = main(["sweep", "--timeout", "5s"])
    expected = (3, ["not deleted within 5s: pod/b", f"khealth: cannot write to standard output: {FULL}"])
    assert expected == (code, capsys.readouterr().err.splitlines())


def test_a_demo_serves_though_nobody_can_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The announcement is a convenience."""
    with _full():
        demo._announce(None, (Address("127.0.0.1", 8080),))
    expected = f"khealth: cannot write to standard output: {FULL}\n"
    assert expected == capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "once", "sweep", "demo"])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a bug"),
        ImportError("no module named x"),
        OSError(5, "input/output error"),
        BrokenPipeError(32, "a socket"),
        MemoryError(),
        ExceptionGroup("tasks", [KeyError("a")]),
        BaseExceptionGroup("tasks", [KeyboardInterrupt()]),
        asyncio.CancelledError(),
    ],
    ids=repr,
)
def test_no_exception_is_taken_for_a_verdict(
    started: Started, command: str, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    """The code of an internal error is no other one's; the traceback goes to standard error, not into a document."""
    started.result = error
    code = main([command])
    out, err = capsys.readouterr()
    expected = (70, "", f"khealth: internal error: {type(error).__name__}")
    assert expected == (code, out, err.splitlines()[-1])


def test_a_traceback_holds_no_secret(started: Started, capsys: pytest.CaptureFixture[str]) -> None:
    """It may hold a URL that a library could not use, or a header."""
    started.result = ValueError("http://joe:s3cr%40t@proxy:1, 'Proxy-Authorization': 'Basic am9lOnMzY3JAdA=='")
    code = main(["once"])
    err = capsys.readouterr().err
    assert (70, [False] * 3) == (code, [secret in err for secret in ("s3cr", "joe:", "am9l")])
    assert "http://proxy:1" in err


def test_a_missing_library_is_no_verdict() -> None:
    """Also one that is imported before the command line is read."""
    program = (
        'import sys; sys.modules["pydantic"] = None; from khealth_exporter.cli import main; sys.exit(main(["once"]))'
    )
    ran = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)  # noqa: S603
    expected = (70, "khealth: internal error: ModuleNotFoundError")
    assert expected == (ran.returncode, ran.stderr.splitlines()[-1])
