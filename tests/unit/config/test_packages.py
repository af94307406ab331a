"""Routines from installed packages: only those that the configuration names are imported."""

import sys
from pathlib import Path

import pytest
from packages import ROUTINE, package

from khealth_exporter.cli.routine_catalog import as_json, as_text
from khealth_exporter.config import Config, ConfigError, installed, load, off_routines
from khealth_exporter.modules import MODULES

NAMED = "modules:\n  shop: {}\n"


def read(folder: Path, text: str = NAMED) -> Config:
    """Return the configuration with this content."""
    file = folder / "khealth.yaml"
    file.write_text(text)
    return load(file)


def refused(folder: Path, text: str = NAMED) -> str:
    """Return the only error of a configuration with this content, without the file's folder."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    (problem,) = caught.value.problems
    return str(problem).removeprefix(f"{folder}/")


def test_a_module_that_is_named_runs(tmp_path: Path) -> None:
    """All its kinds, with their settings."""
    with package(tmp_path / "site"):
        config = read(tmp_path, "modules:\n  shop:\n    till: {word: bye}\n")
        (routine,) = config.routines[-1:]
        assert ("shop", "till", "bye") == (routine.module, routine.label, getattr(routine.settings, "word", None))
        assert ["shop"] == [module.name for module in config.installed]


def test_a_module_that_is_not_named_is_not_imported(tmp_path: Path) -> None:
    """Its code could do anything."""
    with package(tmp_path / "site"):
        config = read(tmp_path, "modules:\n  storage: {}\n")
        assert ((), False) == (config.installed, "shop_checks" in sys.modules)


def test_a_class_is_a_module_of_one_routine(tmp_path: Path) -> None:
    """It has the name of the entry point."""
    source = ROUTINE.replace("shop_coins", "corner_coins")
    with package(tmp_path / "site", source, points="corner = shop_checks:Till"):
        (module,) = read(tmp_path, "modules:\n  corner: {}\n").installed
    assert ("corner", "Ask the till.", ["till"]) == (
        module.name,
        module.meaning,
        [kind.name for kind in module.routines],
    )


@pytest.mark.parametrize(
    ("source", "points", "why"),
    [
        pytest.param("import nothing_of_this_name", "", "cannot be imported: ModuleNotFoundError", id="import"),
        pytest.param("raise SystemExit(3)", "", "cannot be imported: SystemExit: 3", id="exit"),
        pytest.param(ROUTINE, "shop = shop_checks:NOTHING", "cannot be imported: AttributeError", id="no such name"),
        pytest.param("SHOP = 3", "", "3 is neither a Module nor a class of Routine", id="no module"),
        pytest.param(ROUTINE.replace('"shop",', '"other",'), "", "its module is called other", id="other name"),
        pytest.param(ROUTINE.replace('"shop_coins"', '"attempts"'), "", "must begin with shop_", id="figure"),
        pytest.param(ROUTINE.replace("    writes = 0\n", ""), "", "AttributeError", id="no writes"),
        pytest.param(ROUTINE.replace("(Till,)", "()"), "", "has no routines", id="no routines"),
        pytest.param(ROUTINE.replace("(Till,)", "(Till, Till)"), "", "several of one name", id="twice"),
        pytest.param(ROUTINE.replace("def init", "def begin"), "", "abstract", id="abstract"),
        pytest.param(ROUTINE.replace('name = "till"', 'name = "suspend"'), "", "cannot be called suspend", id="key"),
        pytest.param(ROUTINE.replace("    Settings = Settings", "    Settings = int"), "", "no class of", id="settings"),
    ],
)  # fmt: skip
def test_a_broken_package_is_an_error_with_its_place(source: str, points: str, why: str, tmp_path: Path) -> None:
    """At the module's key: the rest of the file is not to blame."""
    with package(tmp_path / "site", source, points or "shop = shop_checks:SHOP"):
        told = refused(tmp_path)
    assert told.startswith("khealth.yaml:2:3: modules.shop: package shop-checks 1.2")
    assert why in told


def test_a_name_of_khealths_own_is_refused(tmp_path: Path) -> None:
    """Nobody could tell which of the two runs."""
    with package(tmp_path / "site", points="storage = shop_checks:SHOP"):
        told = refused(tmp_path, "modules:\n  storage: {}\n")
        assert "shop_checks" not in sys.modules
    assert "khealth.yaml:2:3: modules.storage: package shop-checks 1.2 offers a module that khealth itself has" in told


def test_a_name_of_two_packages_is_refused(tmp_path: Path) -> None:
    """As above."""
    with package(tmp_path / "site", points="shop = shop_checks:SHOP\nshop = shop_checks:OTHER"):
        assert "several packages offer this module" in refused(tmp_path)


def test_settings_that_a_routine_cannot_use_are_an_error(tmp_path: Path) -> None:
    """It says what it times only once it has them."""
    broken = ROUTINE + "\n\nTill.steps_of = classmethod(lambda cls, settings: 1 / 0)\n"
    with package(tmp_path / "site", broken):
        assert "khealth.yaml:3:11: modules.shop.till: the routine cannot be used with these settings" in refused(
            tmp_path, "modules:\n  shop:\n    till: {}\n"
        )


def test_what_a_package_offers_is_listed_and_not_imported(tmp_path: Path) -> None:
    """As text and as JSON."""
    with package(tmp_path / "site"):
        offered = installed()
        assert [("shop", "shop-checks 1.2")] == [(one.name, one.package) for one in offered]
        assert "shop  package shop-checks 1.2  off until the configuration names it" in as_text((), (), offered)
        assert '"module": "shop"' in as_json((), (), offered)
        assert "shop_checks" not in sys.modules


def test_a_routine_of_a_package_can_be_off(tmp_path: Path) -> None:
    """As one of khealth's own."""
    with package(tmp_path / "site"):
        config = load(b"{modules: {shop: {}}}", only=["rcscheduler"])
        assert ("shop", "till") in {(off.module, off.routine) for off in off_routines(config, MODULES)}
