"""What the configuration file may say, and what is said of one that is wrong."""

import dataclasses
import functools
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from khealth_exporter import config as configuration
from khealth_exporter.config import (
    Bound,
    Config,
    ConfigError,
    Problem,
    RoutineConfig,
    Setting,
    digest,
    settings_of,
)
from khealth_exporter.core.routine import Routine, RoutineSettings
from khealth_exporter.modules import Module
from khealth_exporter.routines.controllers import ControllersSettings
from khealth_exporter.routines.rcscheduler import RcScheduler, RcSchedulerSettings
from khealth_exporter.vocabulary.settings import Duration, MeasurementSettings

load = functools.partial(configuration.load, modules=(Module("rcscheduler", "", (RcScheduler,)),))
"""Loads with one module, so that a new one breaks no test."""
FILES = Path(__file__).parent / "testdata"
NAMESPACE_RULE = "must be at most 63 lowercase letters, digits or '-', and start and end with a letter or digit"

WRONG: dict[str, list[str]] = {
    "agents_own_unknown": ["2:8: agents.own: must be 'auto', true or false"],
    "alias_undefined": [
        "1:12: invalid YAML: found undefined alias 'nowhere'",
    ],
    "character_forbidden": [
        "1:13: invalid YAML: character U+0007 is not allowed",
    ],
    "character_halved": [
        "1:12: namespace: contains an unpaired surrogate, which is not a character",
    ],
    "choice_unknown": [
        "6:40: modules.rcscheduler.rcscheduler.pod.tolerations[0].operator: must be 'Equal', 'Exists', 'Lt' or 'Gt'",
    ],
    "contains_itself": [
        "1:14: measurement.loop_lag: an alias refers to a value that contains it",
    ],
    "document_second": [
        "2:1: the file must be one YAML document: a second one starts here",
    ],
    "duration_not_positive": [
        "4:16: modules.rcscheduler.rcscheduler.timeout: must be greater than 0",
    ],
    "duration_unit_missing": [
        "4:17: modules.rcscheduler.rcscheduler.interval: 60 is not a duration: write a number with its unit, as in 500ms, 5s or 2m",
    ],
    "duration_unit_unknown": [
        "4:17: modules.rcscheduler.rcscheduler.interval: '60 sec' is not a duration: write a number with its unit, as in 500ms, 5s or 2m",
    ],
    "escape_impossible": [
        "1:1: invalid YAML: invalid escape sequence or version directive",
    ],
    "interval_below_attempt": [
        "4:17: modules.rcscheduler.rcscheduler.interval: 2 * timeout (20s) + pod_ttl (20s) is 1m, which exceeds interval (50s): attempts would overlap",
    ],
    "interval_below_attempt_by_timeout": [
        "4:16: modules.rcscheduler.rcscheduler.timeout: 2 * timeout (30s) + pod_ttl (20s) is 80s, which exceeds interval (1m): attempts would overlap",
    ],
    "key_duplicate": [
        "6:7: modules.rcscheduler.rcscheduler.replicas: duplicate key, first set on line 4",
    ],
    "key_list": [
        "1:3: a key must be a string, not a mapping or a list",
    ],
    "key_not_text": [
        "3:5: modules.rcscheduler: a key must be a string, not no (put it in quotes)",
    ],
    "key_unknown": [
        "1:1: namespaces: unknown key; did you mean namespace?",
    ],
    "key_unknown_far": [
        "2:3: measurement.tolerance: unknown key; known: loop_lag, watch_lag",
    ],
    "key_unknown_in_list": [
        "6:30: modules.rcscheduler.rcscheduler.pod.tolerations[0].operatorr: unknown key; did you mean operator?",
    ],
    "kind_missing": [
        "3:14: modules.rcscheduler.nodes-b: key `kind` is required, because the module has no kind named nodes-b; known kinds: rcscheduler",
    ],
    "kind_unknown": [
        "3:21: modules.rcscheduler.nodes-b.kind: must be a kind of this module, not the string 'rcschedular'; known kinds: rcscheduler",
    ],
    "label_invalid": [
        "3:5: modules.rcscheduler.Nodes_B: invalid routine name: must be at most 30 lowercase letters, digits or '-', start with a letter and not end with '-'",
    ],
    "list_wanted": [
        "5:22: modules.rcscheduler.rcscheduler.pod.tolerations: must be a list, not the string 'dedicated'",
    ],
    "mapping_wanted": [
        "4:12: modules.rcscheduler.rcscheduler.pod: must be a mapping, not the string 'registry.k8s.io/pause:3.10.1'",
    ],
    "merge_not_mapping": [
        "2:7: measurement: << must refer to a mapping, not the string '20ms'",
    ],
    "module_not_mapping": [
        "2:16: modules.rcscheduler: must be a mapping, not a list",
    ],
    "module_unknown": [
        "2:3: modules.rcschedular: unknown key; did you mean rcscheduler?",
    ],
    "modules_not_mapping": [
        "1:10: modules: must be a mapping, not the string 'rcscheduler'",
    ],
    "namespace_invalid": [
        "1:12: namespace: invalid namespace name 'Khealth_1': must be at most 63 lowercase letters, digits or '-', and start and end with a letter or digit",
    ],
    "namespace_not_text": [
        "1:12: namespace: invalid namespace name 31337: must be at most 63 lowercase letters, digits or '-', and start and end with a letter or digit",
    ],
    "nested_too_deep": [
        "1:41: nested more than 30 levels deep",
    ],
    "not_utf8": [
        "1:6: the file is not valid UTF-8",
    ],
    "number_huge": [
        "4:17: modules.rcscheduler.rcscheduler.replicas: number is too large",
    ],
    "number_too_large": [
        "4:17: modules.rcscheduler.rcscheduler.replicas: must be at most 1000",
    ],
    "number_too_small": [
        "4:17: modules.rcscheduler.rcscheduler.replicas: must be at least 1",
    ],
    "number_wanted": [
        "4:17: modules.rcscheduler.rcscheduler.replicas: must be an integer, not the string '3'",
    ],
    "poll_interval_above_pod_ttl": [
        "4:16: modules.rcscheduler.rcscheduler.pod_ttl: poll_interval (5s) exceeds pod_ttl (2s)",
    ],
    "routine_called_suspend": [
        "4:7: modules.rcscheduler.suspend: must be true or false, not a mapping",
    ],
    "routine_not_mapping": [
        "3:18: modules.rcscheduler.rcscheduler: must be a mapping, not the string '60s'",
    ],
    "setting_missing": [
        "6:13: modules.rcscheduler.rcscheduler.pod.imagePullSecrets[0].name: is missing",
    ],
    "setting_unknown": [
        "4:7: modules.rcscheduler.rcscheduler.poll_intervall: unknown key; did you mean poll_interval?",
    ],
    "several": [
        "1:12: namespace: invalid namespace name 'Khealth': must be at most 63 lowercase letters, digits or '-', and start and end with a letter or digit",
        "2:25: measurement.loop_lag: 20 is not a duration: write a number with its unit, as in 500ms, 5s or 2m",
        "5:29: modules.rcscheduler.rcscheduler.replicas: must be an integer, not the string 'three'",
        "5:36: modules.rcscheduler.rcscheduler.replicas: duplicate key, first set on line 5",
        "5:49: modules.rcscheduler.rcscheduler.pause: unknown key; known: interval, pod, pod_ttl, poll_interval, replicas, suspend, suspend_until, timeout",
        "6:44: modules.rcscheduler.nodes-b.interval: 2 * timeout (20s) + pod_ttl (20s) is 1m, which exceeds interval (10s): attempts would overlap",
    ],
    "suspend_of_module_not_bool": [
        "3:14: modules.rcscheduler.suspend: must be true or false, not the string 'true'",
    ],
    "suspend_of_routine_not_bool": [
        "4:16: modules.rcscheduler.rcscheduler.suspend: must be true or false, not 1",
    ],
    "suspend_until_not_a_time": [
        "3:20: modules.rcscheduler.suspend_until: '2026-12-24' is not a time: write date, time and time zone, as in 2026-12-24T06:00:00Z",
        "5:22: modules.rcscheduler.rcscheduler.suspend_until: '2h' is not a time: write date, time and time zone, as in 2026-12-24T06:00:00Z",
        "8:22: modules.rcscheduler.other.suspend_until: '2026-13-24T06:00:00Z' is not a time: month must be in 1..12",
    ],
    "suspend_until_with_suspend": [
        "4:20: modules.rcscheduler.suspend_until: suspend: true has no end; write only suspend_until",
        "7:22: modules.rcscheduler.rcscheduler.suspend_until: suspend: true has no end; write only suspend_until",
    ],
    "suspend_until_without_zone": [
        "4:22: modules.rcscheduler.rcscheduler.suspend_until: '2026-12-24T06:00:00' has no time zone: add Z for UTC, or an offset such as +01:00",
    ],
    "tab": [
        "2:1: invalid YAML: tab not allowed here; use spaces",
    ],
    "tag_unknown": [
        "1:12: namespace: unknown tag !secret",
    ],
    "text_too_short": [
        "4:20: modules.rcscheduler.rcscheduler.pod.image: must not be empty",
    ],
    "text_wanted": [
        "5:29: modules.rcscheduler.rcscheduler.pod.nodeSelector.gpu: must be a string (put it in quotes), not yes",
    ],
    "toleration_without_key": [
        "6:13: modules.rcscheduler.rcscheduler.pod.tolerations[0]: a toleration without a key needs operator Exists",
    ],
    "top_level_list": [
        "1:1: must be a mapping, not a list",
    ],
    "values_too_many": [
        "1:14: the file contains more than 10000 values",
    ],
    "yaml_invalid": [
        "2:8: invalid YAML: while parsing a flow mapping, expected ',' or '}', but got ':'",
    ],
}
"""By file: the problems in it, each without the file's name. One file a rule."""


def _problems(path: Path, **flags: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, **flags)
    return [str(problem) for problem in caught.value.problems]


def _written(folder: Path, text: str | bytes) -> Path:
    path = folder / "khealth.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("name", WRONG)
def test_every_rule_is_told_with_its_place(name: str) -> None:
    """What breaks a rule is refused, with file, line, column, path and a sentence."""
    expected = [f"{FILES / name}.yaml:{problem}" for problem in WRONG[name]]
    assert expected == _problems(FILES / f"{name}.yaml")


def test_every_wrong_file_is_expected_to_be_wrong() -> None:
    """No file of a rule is forgotten in the table."""
    files = {path.stem for path in FILES.glob("*.yaml") if not path.stem.startswith("valid_")}
    assert files == WRONG.keys()


def test_without_a_file_every_kind_runs_with_its_defaults() -> None:
    """Nothing has to be configured."""
    expected = Config(
        None,
        MeasurementSettings(),
        (RoutineConfig("rcscheduler", "rcscheduler", RcScheduler, RcSchedulerSettings()),),
        "",
    )
    assert expected == load(None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "---\n",
        "{}",
        "modules:\n",
        "modules: {rcscheduler: }",
        "modules: {rcscheduler: {}}",
        "measurement:\n",
        "namespace: null",
        "modules: {rcscheduler: {rcscheduler: }}",
        "\ufeff{}",
    ],
)
def test_what_a_file_leaves_out_has_its_default(tmp_path: Path, text: str) -> None:
    """An empty file, section or routine stands for the defaults."""
    path = _written(tmp_path, text)
    assert dataclasses.replace(load(None), file=str(path)) == load(path)


@pytest.mark.parametrize("indent", ["\t", "  ", None])
def test_json_is_read_however_it_is_indented(tmp_path: Path, indent: str | None) -> None:
    """Tools write it with tabs, with spaces, or in one line."""
    text = json.dumps(yaml.safe_load((FILES / "valid_every_key.yaml").read_text()), indent=indent)
    expected = load(FILES / "valid_every_key.yaml").as_yaml()
    assert expected == load(_written(tmp_path, text)).as_yaml()


def test_an_error_in_tab_indented_json_has_its_place(tmp_path: Path) -> None:
    """A tab is one column."""
    path = _written(tmp_path, '{\n\t"measurement": {\n\t\t"loop_lag":\t5\n\t}\n}')
    (problem,) = _problems(path)
    assert problem.startswith(f"{path}:3:15: measurement.loop_lag: ")


def test_every_key_can_be_set() -> None:
    """A file that sets every key is read as it stands."""
    config = load(FILES / "valid_every_key.yaml")
    told = yaml.safe_load((FILES / "valid_every_key.yaml").read_text())
    told["modules"]["rcscheduler"]["rcscheduler"]["pod"]["tolerations"][0]["tolerationSeconds"] = None
    assert told == yaml.safe_load(config.as_yaml())


def test_once_a_module_lists_routines_exactly_these_run() -> None:
    """Two routines for two pools replace the default one."""
    expected = ["pool-a", "pool-b"]
    assert expected == [routine.label for routine in load(FILES / "valid_two_pools.yaml").routines]


def test_an_alias_can_be_merged_and_overridden() -> None:
    """What two routines share may be written once."""
    settings = [routine.settings for routine in load(FILES / "valid_two_pools.yaml").routines]
    expected = [
        RcSchedulerSettings.model_validate({"replicas": 2, "pod": {"nodeSelector": {"pool": pool}}}) for pool in "ab"
    ]
    assert expected == settings


@pytest.mark.parametrize("name", ["valid_every_key", "valid_two_pools"])
def test_the_configuration_in_force_reads_back_as_itself(tmp_path: Path, name: str) -> None:
    """What `/config` shows could be used as the file."""
    config = load(FILES / f"{name}.yaml")
    path = _written(tmp_path, config.as_yaml())
    assert dataclasses.replace(config, file=str(path)) == load(path)


def test_the_command_line_wins_over_the_file() -> None:
    """Namespace, poll interval and TTL of the command line replace the file's."""
    config = load(FILES / "valid_every_key.yaml", namespace="other", poll_interval=1.0, pod_ttl=3.0)
    settings = config.routines[0].settings
    expected = ("other", 1.0, 3.0)
    assert expected == (config.namespace, settings.pause, settings.hold)


def test_a_flag_that_makes_attempts_overlap_is_named() -> None:
    """The combination of file and command line is checked, and the flag is to blame."""
    problems = _problems(FILES / "valid_every_key.yaml", pod_ttl=90.0)
    expected = (
        "--pod-ttl: modules.rcscheduler.rcscheduler: "
        "2 * timeout (30s) + pod_ttl (90s) is 150s, which exceeds interval (2m): attempts would overlap"
    )
    assert [expected] == problems


def test_a_flag_above_the_ttl_is_named() -> None:
    """A poll interval of the command line that is above the TTL is refused."""
    with pytest.raises(ConfigError) as caught:
        load(None, poll_interval=21.0)
    place = "modules.rcscheduler.rcscheduler"
    expected = Problem("--poll-interval", 0, 0, place, "poll_interval (21s) exceeds pod_ttl (20s)")
    assert (expected,) == caught.value.problems


def test_a_namespace_of_the_command_line_must_be_one() -> None:
    """What no namespace can be called is refused before anything starts."""
    with pytest.raises(ConfigError) as caught:
        load(None, namespace="a/b")
    message = f"invalid namespace name 'a/b': {NAMESPACE_RULE}"
    assert (Problem("--namespace", 0, 0, "", message),) == caught.value.problems


SUSPENDED = [
    ("{rcscheduler: {suspend: true}}", {"rcscheduler": True}),
    ("{rcscheduler: {suspend: false}}", {"rcscheduler": False}),
    ("{rcscheduler: {rcscheduler: {suspend: true}}}", {"rcscheduler": True}),
    ("{rcscheduler: {a: {kind: rcscheduler, suspend: true}, rcscheduler: {}}}", {"a": True, "rcscheduler": False}),
    ("{rcscheduler: {suspend: true, a: {kind: rcscheduler, suspend: false}}}", {"a": True}),
    ("{rcscheduler: {a: {kind: rcscheduler}, suspend: true, rcscheduler: }}", {"a": True, "rcscheduler": True}),
]


@pytest.mark.parametrize(("modules", "suspended"), SUSPENDED)
def test_a_routine_or_a_whole_module_can_be_suspended(
    tmp_path: Path, modules: str, suspended: Mapping[str, bool]
) -> None:
    """Beside a routine's settings it is for that one; beside a module's routines for all of them, whatever they say."""
    config = load(_written(tmp_path, f"modules: {modules}"))
    assert suspended == {routine.label: routine.settings.suspend for routine in config.routines}


XMAS, DAY = 1798092000.0, 86400.0
WINDOWS = [
    ("{rcscheduler: {suspend_until: 2026-12-24T06:00:00Z}}", {"rcscheduler": XMAS}),
    ("{rcscheduler: {rcscheduler: {suspend_until: 2026-12-24T07:00+01:00}}}", {"rcscheduler": XMAS}),
    (
        (
            "{rcscheduler: {suspend_until: 2026-12-24T06:00:00Z, a: {kind: rcscheduler}, "
            "b: {kind: rcscheduler, suspend_until: 2026-12-25T06:00:00Z}}}"
        ),
        {"a": XMAS, "b": XMAS + DAY},
    ),
    ("{rcscheduler: {suspend: true, rcscheduler: {suspend_until: 2026-12-24T06:00:00Z}}}", {"rcscheduler": math.inf}),
]


@pytest.mark.parametrize(("modules", "ends"), WINDOWS)
def test_a_suspension_can_end_by_itself(tmp_path: Path, modules: str, ends: Mapping[str, float]) -> None:
    """At the latest end that the routine or its module says; never where one of them says no end."""
    config = load(_written(tmp_path, f"modules: {modules}"))
    for routine in config.routines:
        if routine.module == "rcscheduler":
            end = ends[routine.label]
            seen = [routine.settings.suspended_at(now) for now in (XMAS - 1, min(end, 1e11) - 1, end)]
            assert [True, True, False] == seen or (math.isinf(end) and all(seen))


def test_what_may_be_secret_is_not_shown(tmp_path: Path) -> None:
    """Everyone may read `/config`: values of environment variables, and queries of URLs, can be tokens."""
    container = "{name: check, image: check, env: [{name: TOKEN, value: s3cret}, {name: NODE, valueFrom: {}}]}"
    check = f"template: {{kind: Pod, spec: {{containers: [{container}]}}}}"
    egress = 'targets: [{url: "https://example.com/health?token=s3cret"}]'
    config = configuration.load(
        _written(
            tmp_path,
            f"canary: {{image: khealth}}\nmodules: {{custom: {{check: {{{check}}}}}, network: {{egress: {{{egress}}}}}}}",
        )
    )
    shown = config.as_yaml()
    assert ("s3cret" in shown, "TOKEN" in shown, "https://example.com/health?" in shown) == (False, True, True)


@pytest.mark.parametrize("modules", [modules for modules, _ in (*SUSPENDED, *WINDOWS)])
def test_a_suspension_reads_back_as_itself(tmp_path: Path, modules: str) -> None:
    """What `/config` shows says of each routine whether it rests."""
    config = load(_written(tmp_path, f"modules: {modules}"))
    assert config == load(_written(tmp_path, config.as_yaml()))


TWO = "modules: {rcscheduler: {a: {kind: rcscheduler, suspend: true}, b: {kind: rcscheduler}}}"


@pytest.mark.parametrize(
    ("named", "running", "resting"),
    [([], ["b"], ["a"]), (["rcscheduler"], ["b"], ["a"]), (["a"], ["a", "b"], []), (["b"], ["b"], ["a"])],
)
def test_what_is_suspended_runs_once_if_it_is_named(
    tmp_path: Path, named: list[str], running: list[str], resting: list[str]
) -> None:
    """By its own name: that of its module does not wake it."""
    config, left_out = load(_written(tmp_path, TWO)).without_suspended(named, 0.0)
    assert (running, resting) == ([r.label for r in config.routines], [r.label for r in left_out])
    assert not any(routine.settings.suspend for routine in config.routines)


@pytest.mark.parametrize(
    ("named", "now", "running"),
    [([], XMAS - 1, []), (["rcscheduler/a"], XMAS - 1, ["a"]), ([], XMAS, ["a"])],
)
def test_what_rests_in_a_window_runs_once_if_it_is_named_or_after_it(
    tmp_path: Path, named: list[str], now: float, running: list[str]
) -> None:
    """What is left runs whatever the clock says then."""
    text = "modules: {rcscheduler: {a: {kind: rcscheduler, suspend_until: 2026-12-24T06:00:00Z}}}"
    config, _ = load(_written(tmp_path, text), only=["rcscheduler"]).without_suspended(named, now)
    assert running == [r.label for r in config.routines]
    assert not any(routine.settings.suspended_at(0.0) for routine in config.routines)


BOUND = Bound("mine", "khealth")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\nnamespace: other\n", "2:12: namespace: cannot change from 'mine' to 'other' without a restart"),
        ("measurement: {}", "1:1: namespace: cannot change from 'mine' to 'khealth' without a restart"),
        ("namespace: 7", f"1:12: namespace: invalid namespace name 7: {NAMESPACE_RULE}"),
    ],
)
def test_a_run_keeps_its_namespace(tmp_path: Path, text: str, problem: str) -> None:
    """Where the file says another, or none any more, that is a problem with its place, and one alone."""
    path = _written(tmp_path, text)
    assert [f"{path}:{problem}"] == _problems(path, bound=BOUND)


@pytest.mark.parametrize(
    ("text", "flag", "bound"),
    [("namespace: mine", None, BOUND), ("{}", None, Bound("khealth", "khealth")), ("namespace: other", "mine", BOUND)],
    ids=["named", "chosen", "flag"],
)
def test_a_namespace_that_stays_is_no_problem(tmp_path: Path, text: str, flag: str | None, bound: Bound) -> None:
    """Be it named now or chosen as before; and the command line still wins over the file."""
    expected = flag or ("mine" if "mine" in text else None)
    assert expected == load(_written(tmp_path, text), namespace=flag, bound=bound).namespace


def test_the_digest_tells_one_content_from_another(tmp_path: Path) -> None:
    """By content alone; what was loaded has the digest of the very bytes that were read."""
    path = _written(tmp_path, "{}")
    first, loaded = digest(path), load(path).digest
    again = digest(_written(tmp_path, "{}"))
    other = digest(_written(tmp_path, "{} "))
    assert (first, first, False) == (loaded, again, first == other)


def test_that_a_file_is_gone_is_a_content_too(tmp_path: Path) -> None:
    """It differs from any other, and stays the same as long as the file is away."""
    path = tmp_path / "none.yaml"
    assert digest(path) == digest(path) != digest(tmp_path)


def test_a_pipe_says_nothing_twice(tmp_path: Path) -> None:
    """`--config <(…)` can be read once: a second read would return an empty configuration."""
    os.mkfifo(tmp_path / "pipe")
    assert [None, None] == [digest(tmp_path / "pipe"), digest(Path("/dev/zero"))]


@pytest.mark.parametrize("only", ["rcscheduler", "pool-b"])
def test_modules_and_routines_can_be_picked(only: str) -> None:
    """A name keeps the module's routines, or the one routine."""
    routines = load(FILES / "valid_two_pools.yaml", only=[only]).routines
    assert {"rcscheduler": ["pool-a", "pool-b"], "pool-b": ["pool-b"]}[only] == [r.label for r in routines]


def test_a_name_that_nothing_has_is_refused_with_those_there_are() -> None:
    """A typing error on the command line does not silently run nothing."""
    with pytest.raises(ConfigError) as caught:
        load(FILES / "valid_two_pools.yaml", only=["pool-c"])
    expected = "pool-c: unknown module or routine; known: pool-a, pool-b, rcscheduler"
    assert expected == str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """A file that is not there has no line to name."""
    assert [f"{tmp_path}/none.yaml: cannot be read: No such file or directory"] == _problems(tmp_path / "none.yaml")


def test_a_directory_is_told(tmp_path: Path) -> None:
    """A directory is no configuration."""
    assert [f"{tmp_path}: cannot be read: Is a directory"] == _problems(tmp_path)


def test_a_file_of_any_size_is_refused_early(tmp_path: Path) -> None:
    """What is larger than any configuration is not even parsed."""
    path = _written(tmp_path, b"#" * 300_000)
    assert [f"{path}:1:1: the file is larger than 256 KiB"] == _problems(path)


class PingSettings(RoutineSettings):
    """Settings of a kind that does not exist."""

    password: SecretStr = SecretStr("")
    """What nobody may see."""
    ratio: float = 0.5
    loud: bool = False
    deadline: Duration = 1.0
    """A duration
    in two lines."""


class Ping(Routine[PingSettings]):
    """A kind that does not exist."""

    name: ClassVar[str] = "ping"
    Settings: ClassVar[type[PingSettings]] = PingSettings


class Pong(Ping):
    """Another."""

    name: ClassVar[str] = "pong"


PLAY = (Module("play", "", (Ping, Pong)),)


def test_a_label_that_is_a_kind_is_of_that_kind(tmp_path: Path) -> None:
    """A routine called ping that is a pong would be a trap."""
    path = _written(tmp_path, "modules: {play: {ping: {kind: pong}}}")
    what = "must be ping or omitted, because a kind of this module has the same name as the routine"
    assert [f"{path}:1:31: modules.play.ping.kind: {what}"] == _problems(path, modules=PLAY)


def test_every_kind_of_a_default_module_runs_by_default() -> None:
    """A default module that the file does not mention runs all its kinds."""
    expected = ["ping", "pong"]
    assert expected == [routine.label for routine in load(None, modules=PLAY).routines]


def test_secrets_are_masked(tmp_path: Path) -> None:
    """What `/config` shows holds no password."""
    path = _written(tmp_path, "modules: {play: {ping: {password: hunter2}}}")
    assert "password: '**********'" in load(path, modules=PLAY).as_yaml()


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ("ratio: 1s", "1:32: modules.play.ping.ratio: must be a number, not the string '1s'"),
        ("loud: 1", "1:31: modules.play.ping.loud: must be true or false, not 1"),
    ],
)
def test_other_types_are_told_too(tmp_path: Path, told: str, problem: str) -> None:
    """Whatever type a setting has, what is wrong is said in the same words."""
    path = _written(tmp_path, f"modules: {{play: {{ping: {{{told}}}}}}}")
    assert [f"{path}:{problem}"] == _problems(path, modules=PLAY)


SUSPEND = RoutineSettings.model_fields["suspend"].description or ""
SUSPEND_UNTIL = RoutineSettings.model_fields["suspend_until"].description or ""


def test_settings_are_listed_with_type_default_and_meaning() -> None:
    """`khealth routines` tells every key that a kind takes."""
    assert [
        Setting("interval", "duration", "1m", "Attempts begin this often, on a fixed grid."),
        Setting("timeout", "duration", "20s", "Upper bound of init, and again of cleanup."),
        Setting("suspend", "boolean", default=False, meaning=SUSPEND),
        Setting("suspend_until", "time", "", SUSPEND_UNTIL),
        Setting("password", "string", "", "What nobody may see."),
        Setting("ratio", "number", 0.5, ""),
        Setting("loud", "boolean", default=False, meaning=""),
        Setting("deadline", "duration", "1s", "A duration in two lines."),
    ] == list(settings_of(PingSettings))


def test_settings_within_settings_are_listed_by_path() -> None:
    """A key of the pod is listed as the file's path to it."""
    names = [setting.name for setting in settings_of(RcSchedulerSettings)]
    expected = ["pod.image", "pod.imagePullSecrets", "pod.nodeSelector"]
    assert expected == [n for n in names if "." in n][:3]


def _loaded(folder: Path, content: bytes) -> Config | ConfigError:
    try:
        return load(_written(folder, content))
    except ConfigError as error:
        return error


@given(content=st.binary(max_size=200))
def test_no_bytes_crash_the_reader(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the file holds, the answer is a Config or a ConfigError."""
    assert isinstance(_loaded(tmp_path_factory.getbasetemp(), content), Config | ConfigError)


TOKENS = st.sampled_from(
    ["namespace", "measurement", "modules", "rcscheduler", "kind", "interval", "pod", "replicas", ":", ": ", "\n", "  ",
     "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "<<", "!!int ", "!!float ", "!x ", "%YAML ", "---", "...", "|", ">",
     "'", '"', "\\U", "\\ud800", "0x", "0b_", "1:99", ".inf", "-", "5s", "9" * 30, "?", "\t", "#", "yes", "~",
     "2001-01-01"]
)  # fmt: skip


@given(parts=st.lists(TOKENS, max_size=25))
def test_no_text_that_looks_like_yaml_crashes_the_reader(
    parts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Half-right YAML is where parsers break; ours says what is wrong."""
    assert isinstance(_loaded(tmp_path_factory.getbasetemp(), "".join(parts).encode()), Config | ConfigError)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["5s", "1m"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([*RcSchedulerSettings.model_fields, "rcscheduler", "image", "tolerations", "x"]),
        inner,
        max_size=3,
    ),
)  # fmt: skip


@given(value=VALUES, where=st.sampled_from(["", "namespace", "measurement", "modules", "routine", "pod"]))
def test_no_value_crashes_the_reader(value: object, where: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any value in any place gives a Config, or problems that each have a place."""
    document: object = {
        "": value,
        "routine": {"modules": {"rcscheduler": {"rcscheduler": value}}},
        "pod": {"modules": {"rcscheduler": {"rcscheduler": {"pod": value}}}},
    }.get(where, {where: value})
    loaded = _loaded(tmp_path_factory.getbasetemp(), yaml.safe_dump(document, allow_unicode=True).encode())
    lines = [problem.line for problem in loaded.problems] if isinstance(loaded, ConfigError) else [1]
    assert min(lines) > 0


DURATIONS = st.integers(min_value=1, max_value=100_000).map(lambda milliseconds: milliseconds / 1000)


@given(interval=DURATIONS, timeout=DURATIONS, pod_ttl=DURATIONS, poll_interval=DURATIONS)
def test_exactly_the_possible_combinations_are_accepted(
    interval: float, timeout: float, pod_ttl: float, poll_interval: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An attempt must fit into its interval, and a poll into the hold."""
    told = {"interval": interval, "timeout": timeout, "pod_ttl": pod_ttl, "poll_interval": poll_interval}
    settings = {key: f"{round(seconds * 1000)}ms" for key, seconds in told.items()}
    document = {"modules": {"rcscheduler": {"rcscheduler": settings}}}
    loaded = _loaded(tmp_path_factory.getbasetemp(), yaml.safe_dump(document).encode())
    expected = poll_interval <= pod_ttl and 2 * timeout + pod_ttl <= interval
    assert expected == isinstance(loaded, Config)


def test_a_choice_is_listed_with_its_words() -> None:
    """Who reads it need not look elsewhere for them."""
    types = {setting.name: setting.type for setting in settings_of(ControllersSettings)}
    assert "one of ReplicationController, Deployment, StatefulSet" == types["workload"]
