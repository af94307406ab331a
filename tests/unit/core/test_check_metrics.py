"""The series of a routine whose steps follow from its settings, and of its alerting."""

from dataclasses import replace

import pytest
from fakes import Telemetered

from khealth_exporter.canaries.checks.settings import CheckSettings
from khealth_exporter.core.notes import Notes, UndeclaredError, failure_in
from khealth_exporter.core.routine import RoutineConfig
from khealth_exporter.measure.clock import Clock
from khealth_exporter.routines.check import Check
from khealth_exporter.vocabulary.event import Event, Phase
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.verdict import Failed

OURS = {"module": "custom", "routine": "shop"}
TEMPLATE = {"kind": "Pod", "spec": {"containers": [{"name": "a", "image": "b"}]}}
COUNT, INFO = "khealth_step_duration_seconds_count", "khealth_step_info"


def config(**settings: object) -> RoutineConfig:
    """Return a check with these settings."""
    made = CheckSettings.model_validate({"template": TEMPLATE, **settings})
    return RoutineConfig("custom", "shop", Check, made)


def declared(made: Telemetered, routine: RoutineConfig) -> None:
    """Let the metrics know a check as it is configured."""
    made.metrics.declare(routine.module, routine.label, routine.kind, routine.settings)


def figures(routine: RoutineConfig) -> Telemetered:
    """Return the metrics of a check."""
    made = Telemetered(Clock(monotonic=lambda: 0.0, utc=lambda: 0.0))
    declared(made, routine)
    return made


def took(routine: RoutineConfig, name: str) -> Event:
    """Return an Event in which a step took 1 s."""
    (step,) = (step for step in routine.steps if step.name == name)
    event = Event("custom", "shop", 1, Phase.INIT, Result.SUCCESS, 0.0, 1.0, 1.0, 1.0)
    return replace(event, measurements=(Measurement(step, 1.0, 0.0),))


def test_steps_that_the_settings_declare_have_series_from_the_start() -> None:
    """They stand at 0, with the user's component."""
    made = figures(config(steps={"login": {}}, component="dns"))
    assert (0.0, 1.0) == (
        made.value(COUNT, **OURS, step="login"),
        made.value(INFO, **OURS, step="login", component="dns"),
    )


def test_a_reload_drops_the_steps_that_are_gone_and_keeps_the_others() -> None:
    """What was counted of those that stay goes on; a step with other edges begins again."""
    before = config(steps={"login": {}, "pay": {}, "mail": {}})
    made = figures(before)
    for name in ("login", "pay", "mail"):
        made.metrics.apply(took(before, name))
    declared(made, config(steps={"login": {}, "mail": {"edges": [1.0]}}))
    assert [1.0, None, 0.0] == [made.value(COUNT, **OURS, step=name) for name in ("login", "pay", "mail")]
    assert None is made.value(INFO, **OURS, step="pay", component="workload")


def test_what_an_attempt_of_the_old_settings_still_says_is_no_error() -> None:
    """It was under way when its settings changed."""
    before = config(steps={"pay": {}})
    made = figures(before)
    declared(made, config())
    made.metrics.apply(took(before, "pay"))
    assert None is made.value(COUNT, **OURS, step="pay")


def test_a_check_has_one_severity_and_one_component() -> None:
    """A reload replaces them; no other routine has any."""
    made = figures(config(severity="critical"))
    declared(made, config(severity="info", component="network"))
    assert (1.0, 1.0) == (
        made.value("khealth_check_info", **OURS, severity="info", component="network"),
        made.total("khealth_check_info"),
    )
    made.metrics.forget("custom", "shop")
    assert 0.0 == made.total("khealth_check_info")


def test_a_step_that_the_settings_do_not_declare_is_a_bug() -> None:
    """The set of labels is closed."""
    wanted, other = config(steps={"login": {}}), config(steps={"pay": {}})
    notes = Notes(wanted)
    (login,) = (step for step in wanted.steps if step.name == "login")
    (pay,) = (step for step in other.steps if step.name == "pay")
    notes.record(Measurement(login, 1.0, 0.0))
    with pytest.raises(UndeclaredError, match="pay"):
        notes.record(Measurement(pay, 1.0, 0.0))


def test_of_two_failures_the_one_of_the_earlier_step_counts() -> None:
    """Also where the steps follow from the settings."""
    routine = config(steps={"login": {}, "pay": {}})
    steps = {step.name: step for step in routine.steps}
    failures = [Failed(Reason.CHECK_FAILED, name, step=steps[name]) for name in ("pay", "login")]
    found = failure_in(ExceptionGroup("both", failures), routine)
    assert found
    assert "login" == found.note
