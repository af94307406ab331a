"""What khealth does without configuration costs a cluster little, whatever its size."""

import pytest

from khealth_exporter.config import load
from khealth_exporter.config.config import Config
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.modules import MODULES

MOST = 0.2
"""API writes a second."""


def _default(image: str, tmp_path: pytest.TempPathFactory) -> Config:
    file = tmp_path.mktemp("defaults") / "khealth.yaml"
    file.write_text(f"canary: {{image: {image!r}}}\n")
    return load(file)


def _rate(routine: RoutineConfig) -> float:
    return routine.kind.writes / routine.settings.interval


def test_writes_of_the_default_routines_stay_below_the_bound(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each routine declares the writes of an attempt; none of them depends on the number of nodes."""
    rates = {routine.label: _rate(routine) for routine in _default("khealth", tmp_path_factory).routines}
    assert sum(rates.values()) < MOST, rates


def test_job_runs_by_default_where_the_image_is_known(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The others that run by default need no image."""
    always = {"rcscheduler", "api", "admission", "controllers", "pod"}
    assert (always, always | {"job"}) == tuple(
        {routine.label for routine in _default(image, tmp_path_factory).routines} for image in ("", "khealth")
    )


def test_every_routine_declares_its_writes() -> None:
    """What creates something deletes it too."""
    assert [] == [kind.name for module in MODULES for kind in module.routines if kind.makes and kind.writes < 2]


def test_attempts_of_no_routine_overlap_by_default() -> None:
    """The settings of a routine that does not run by default are accepted too, once it is named."""
    chosen = {kind: kind.Settings.model_fields for module in MODULES for kind in module.routines}
    bounds = {kind.name: (2 * fields["timeout"].default, fields["interval"].default) for kind, fields in chosen.items()}
    assert {} == {name: (least, interval) for name, (least, interval) in bounds.items() if least > interval}
