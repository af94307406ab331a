"""Which routines run: by default, by the configuration, and by their names on the command line."""

from pathlib import Path
from typing import Any, ClassVar

import pytest

from khealth_exporter.config import (
    Config,
    ConfigError,
    LeftOut,
    Off,
    Setting,
    load,
    missing_in,
    off_routines,
    settings_of,
)
from khealth_exporter.core.routine import Routine, RoutineSettings
from khealth_exporter.modules import MODULES as KHEALTHS
from khealth_exporter.modules import Module
from khealth_exporter.routines.rcscheduler import RcScheduler
from khealth_exporter.vocabulary.settings import Duration, Settings


class Ping(Routine[RoutineSettings]):
    """A kind whose settings all have defaults."""

    name: ClassVar[str] = "ping"
    Settings: ClassVar[type[RoutineSettings]] = RoutineSettings


class Pong(Ping):
    """Another one."""

    name: ClassVar[str] = "pong"


class Asker(Ping):
    """A kind that asks agents."""

    name: ClassVar[str] = "asker"
    needs_agents: ClassVar[bool] = True


class TargetSettings(Settings):
    """A nested model with a required setting."""

    host: str
    """Its name."""
    port: int = 443
    within: Duration = 2.0


class ProbeSettings(RoutineSettings):
    """Settings of which two are required."""

    url: str
    """What to request."""
    target: TargetSettings


class Probe(Ping):
    """A kind with required settings."""

    name: ClassVar[str] = "probe"
    Settings: ClassVar[type[RoutineSettings]] = ProbeSettings


MODULES = (
    Module("play", "", (Ping, Pong)),
    Module("quiet", "", (Ping,), default=False),
    Module("custom", "", (Ping, Probe)),
    Module("bare", "", (Probe,), default=False),
)
URL = "url: https://example.org, target: {host: a}"


def _load(folder: Path, text: str = "", **flags: Any) -> Config:
    path = folder / "khealth.yaml"
    path.write_text(text)
    return load(path, modules=MODULES, **flags)


def _names(config: Config) -> list[str]:
    return [f"{routine.module}/{routine.label}" for routine in config.routines]


def _refused(*only: str, modules: tuple[Module, ...] = MODULES) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(None, only=only, modules=modules)
    return [str(problem) for problem in caught.value.problems]


def test_by_default_default_modules_run_without_kinds_that_need_a_setting() -> None:
    """An upgrade starts neither a module that is off by default, nor a routine that cannot run."""
    config = load(None, modules=MODULES)
    expected = (["play/ping", "play/pong", "custom/ping"], ())
    assert expected == (_names(config), config.left_out)


def test_what_is_off_by_default_says_why() -> None:
    """The page and `khealth routines` give the same reasons."""
    lacking = "it has required settings: url, target"
    expected = [
        Off("quiet", "ping", "module quiet is off by default"),
        Off("custom", "probe", lacking),
        Off("bare", "probe", lacking),
    ]
    assert expected == list(off_routines(load(None, modules=MODULES), MODULES))


def test_an_image_alone_does_not_start_a_module_that_is_off_by_default() -> None:
    """Both reasons are given: to remove one of them starts nothing."""
    both = "canary.image is not set, and module storage is off by default"
    whys = {off.routine: off.why for off in off_routines(load(None), KHEALTHS)}
    assert ("canary.image is not set", both) == (whys["job"], whys["disk"])


ASKING = (Module("net", "", (Ping, Asker), default=False),)


@pytest.mark.parametrize(
    ("text", "able"),
    [
        ("{}", False),
        ("agents: {own: true}", False),
        ("canary: {image: khealth}", True),
        ("agents: {pod: {image: khealth}}", True),
        ("agents: {own: false}", True),
        ("{agents: {own: true}, canary: {image: khealth}}", True),
    ],
)
def test_a_routine_that_asks_agents_runs_where_there_can_be_any(tmp_path: Path, text: str, *, able: bool) -> None:
    """Khealth's own need an image; the chart's are there without khealth's doing."""
    path = tmp_path / "khealth.yaml"
    path.write_text(text)
    config = load(path, only=["net"], modules=ASKING)

    assert ["net/ping", *(["net/asker"] if able else [])] == _names(config)
    assert (() if able else (LeftOut("net", "asker", ("canary.image",)),)) == config.left_out


def test_a_named_routine_that_asks_agents_is_an_error_where_there_can_be_none() -> None:
    """The message has the key to set."""
    missing = "canary.image is missing: say --config FILE with khealth's own image in it"
    assert [f"asker: {missing}"] == _refused("asker", modules=ASKING)


def test_why_a_routine_that_asks_agents_is_off_names_both_ways_to_have_some() -> None:
    """An image, or the chart's agents."""
    off = list(off_routines(load(None, only=["ping"], modules=ASKING), ASKING))

    why = (
        "canary.image is not set, and no agents of the chart run (agents.own: false), and module net is off by default"
    )
    assert [Off("net", "asker", why)] == off


def test_what_the_configuration_replaces_is_off(tmp_path: Path) -> None:
    """A kind that runs under another name is not."""
    config = _load(tmp_path, "modules: {play: {slow: {kind: ping}}}")
    (found,) = [one for one in off_routines(config, MODULES) if one.module == "play"]
    assert Off("play", "pong", "the configuration or the command line names others") == found


def test_every_default_module_of_khealth_runs_without_a_file() -> None:
    """Its own settings are valid, and so are their combinations."""
    expected = [module.name for module in KHEALTHS if module.default]
    assert expected == list(dict.fromkeys(routine.module for routine in load(None).routines))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("modules: {quiet: }", ["play/ping", "play/pong", "quiet/ping", "custom/ping"]),
        ("modules: {quiet: {suspend: true}}", ["play/ping", "play/pong", "quiet/ping", "custom/ping"]),
        ("modules: {quiet: {slow: {kind: ping}}}", ["play/ping", "play/pong", "quiet/slow", "custom/ping"]),
        ("modules: {play: {pong: }}", ["play/pong", "custom/ping"]),
        (f"modules: {{custom: {{probe: {{{URL}}}}}}}", ["play/ping", "play/pong", "custom/probe"]),
    ],
)
def test_modules_and_routines_run_if_the_configuration_lists_them(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    """Whether or not they run by default; a module's list replaces its default routines."""
    assert expected == _names(_load(tmp_path, text))


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["play"], ["play/ping", "play/pong"]),
        (["quiet"], ["quiet/ping"]),
        (["quiet/ping"], ["quiet/ping"]),
        (["pong", "quiet"], ["play/pong", "quiet/ping"]),
        (["ping"], ["play/ping", "quiet/ping", "custom/ping"]),
        (["custom"], ["custom/ping"]),
    ],
)
def test_the_command_line_selects_modules_and_routines_that_are_on_or_off(only: list[str], expected: list[str]) -> None:
    """MODULE, ROUTINE in any module, and MODULE/ROUTINE."""
    assert expected == _names(load(None, only=only, modules=MODULES))


def test_a_named_module_runs_the_routines_that_the_configuration_lists(tmp_path: Path) -> None:
    """Not its other kinds."""
    expected = ["play/fast"]
    assert expected == _names(_load(tmp_path, "modules: {play: {fast: {kind: ping}}}", only=["play"]))


def test_a_named_routine_runs_with_the_settings_of_the_configuration(tmp_path: Path) -> None:
    """Two modules can each have a routine of this name; MODULE/ROUTINE tells them apart."""
    text = "modules: {play: {ping: {interval: 2m}}, quiet: {ping: {interval: 3m}}}"
    (routine,) = _load(tmp_path, text, only=["quiet/ping"]).routines
    assert ("quiet", 180.0) == (routine.module, routine.settings.interval)


def test_a_named_routine_that_is_not_listed_runs_with_defaults(tmp_path: Path) -> None:
    """Even if the module lists others."""
    config = _load(tmp_path, "modules: {play: {ping: {interval: 2m}}}", only=["play/pong"])
    assert [("pong", 60.0)] == [(routine.label, routine.settings.interval) for routine in config.routines]


def test_the_name_of_a_module_does_not_select_a_kind_that_the_configuration_replaced(tmp_path: Path) -> None:
    """A module and its kind may have the same name."""
    modules = (Module("ping", "", (Ping,)),)
    path = tmp_path / "khealth.yaml"
    path.write_text("modules: {ping: {a: {kind: ping}}}")
    assert (["ping/a"], ["ping/ping"]) == (
        _names(load(path, only=["ping"], modules=modules)),
        _names(load(path, only=["ping/ping"], modules=modules)),
    )


@pytest.mark.parametrize("name", ["custom/probe", "probe", "bare"])
def test_a_named_routine_without_its_required_setting_is_an_error(name: str) -> None:
    """Every missing key is named; a module of such routines alone is an error too."""
    modules = MODULES[:3] if name != "bare" else MODULES[3:]
    routine = "bare.probe" if name == "bare" else "custom.probe"
    expected = [f"{name}: modules.{routine}.{key} is missing" for key in ("url", "target")]
    assert expected == _refused(name, modules=modules)


def test_a_named_module_leaves_out_a_routine_without_its_required_setting() -> None:
    """The rest of the module runs."""
    left_out = load(None, only=["custom"], modules=MODULES).left_out
    assert (LeftOut("custom", "probe", ("url", "target")),) == left_out


def test_a_configured_module_leaves_out_a_routine_without_its_required_setting(tmp_path: Path) -> None:
    """`modules: {bare: }` does not configure `probe`."""
    config = _load(tmp_path, "modules: {bare: }")
    assert (LeftOut("bare", "probe", ("url", "target")),) == config.left_out


def test_a_listed_routine_without_its_required_setting_is_an_error(tmp_path: Path) -> None:
    """With the place of the routine in the file."""
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, "modules: {bare: {probe: {url: https://example.org}}}")
    expected = f"{tmp_path}/khealth.yaml:1:25: modules.bare.probe.target: is missing"
    assert expected == str(caught.value)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("pang", "bare, custom, ping, play, pong, probe, quiet"),
        (
            "play/pang",
            "bare/probe, custom/ping, custom/probe, play/ping, play/pong, quiet/ping",
        ),
    ],
)
def test_an_unknown_name_is_an_error(name: str, known: str) -> None:
    """The message lists the names of the same form."""
    assert [f"{name}: unknown module or routine; known: {known}"] == _refused(name)


def test_flags_are_checked_only_against_routines_that_run() -> None:
    """A flag that does not fit a routine that is off is no error."""
    modules = (*MODULES, Module("pods", "", (RcScheduler,), default=False))
    assert ["play/ping"] == _names(load(None, only=["play/ping"], modules=modules, pod_ttl=90.0))


@pytest.mark.parametrize(
    ("named", "running"), [(["ping"], ["play/ping", "quiet/ping"]), (["quiet/ping"], ["quiet/ping"])]
)
def test_a_suspended_routine_runs_if_it_is_named(tmp_path: Path, named: list[str], running: list[str]) -> None:
    """By ROUTINE in every module, by MODULE/ROUTINE in one."""
    text = "modules: {play: {ping: {suspend: true}}, quiet: {ping: {suspend: true}}, custom: {suspend: true}}"
    config, _ = _load(tmp_path, text, only=["play", "quiet"]).without_suspended(named, 0.0)
    assert running == _names(config)


def test_what_runs_reads_back_as_itself(tmp_path: Path) -> None:
    """`/config` shows a required setting as it was set, and no routine that does not run."""
    config = _load(tmp_path, f"modules: {{bare: {{probe: {{{URL}}}}}}}", only=["bare"])
    again = _load(tmp_path, config.as_yaml(), only=["bare"])
    assert (config, ["bare/probe"]) == (again, _names(again))


def test_required_settings_are_listed_without_a_default() -> None:
    """In nested models too."""
    found = [setting for setting in settings_of(ProbeSettings) if setting.name not in RoutineSettings.model_fields]
    assert [
        Setting("url", "string", None, "What to request.", required=True),
        Setting("target", "mapping", None, "", required=True),
        Setting("target.host", "string", None, "Its name.", required=True),
        Setting("target.port", "integer", 443, ""),
        Setting("target.within", "duration", "2s", ""),
    ] == found


def test_missing_settings_are_keys_of_the_routine() -> None:
    """A nested mapping is missing as a whole."""
    assert (("url", "target"), ()) == (missing_in(ProbeSettings), missing_in(RoutineSettings))
