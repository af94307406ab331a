"""Twenty routines in six modules, in every state: what the status page has to fit on one screen."""

import random
from collections.abc import Sequence
from dataclasses import replace

from states import INTERVAL, NOW, Story, suspended

from khealth_exporter.core.snapshot import RoutineStatus, State, after
from khealth_exporter.routines.api import Api
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Event, Phase
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Verdict

_CONTROLLERS = tuple(Step(name, Component.CONTROLLER_MANAGER, "") for name in ("create", "observe", "delete"))
_VOLUME = tuple(Step(name, Component.STORAGE, "") for name in ("provision", "attach", "write", "verify", "detach"))
_NETWORK = tuple(Step(name, Component.NETWORK, "") for name in ("resolve", "connect"))


def _plain(
    module: str, routine: str, steps: Sequence[Step], slots: Sequence[Reason | None], mean: float = 0.05
) -> RoutineStatus:
    """Return a routine that times only steps of the attempt itself, and what became of its attempts."""
    chance = random.Random(f"{module}/{routine}")
    status = RoutineStatus(module, routine, INTERVAL, tuple(steps))
    for number, reason in enumerate(slots, 1):
        began = NOW - 32 - INTERVAL * (len(slots) - number)
        took = [Measurement(step, mean * chance.uniform(0.7, 1.4), 0.002) for step in steps]
        verdict = Verdict(reason.result, reason, f"{reason}: so it was", reason.component) if reason else None
        seconds = sum(measured.seconds for measured in took) * (8 if reason else 1)
        init = Event(
            module, routine, number, Phase.INIT, reason.result if reason else Result.SUCCESS,
            began, began + seconds, seconds, began + seconds, reason, verdict.note if verdict else "", verdict,
            measurements=tuple(took),
        )  # fmt: skip
        done = Verdict(Result.SUCCESS) if verdict is None else None
        gone = replace(
            init,
            phase=Phase.CLEANUP,
            ended=init.ended + 1,
            at=init.at + 1,
            duration=mean,
            verdict=done,
            measurements=(),
        )
        status = after(after(status, init), gone)
    return replace(status, due=NOW + 28)


def _pods(module: str, routine: str, slots: Sequence[Reason | None]) -> RoutineStatus:
    """Return a routine that times pods."""
    return replace(Story(routine, pods=1, seed=len(routine)).then(*slots).told(), module=module)


def _well(count: int = 110) -> list[Reason | None]:
    return [None] * count


def twenty(*, ill: bool = True) -> tuple[RoutineStatus, ...]:
    """Return twenty routines: all well, or some in each other state."""
    broken = Reason.POD_NOT_SCHEDULED if ill else None
    throttled = Reason.THROTTLED if ill else None
    unmade = Reason.POD_NOT_CREATED if ill else None
    pod = _pods("workloads", "pod", _well())
    if ill:
        pod = replace(pod, remarks=(Remark("failing nodes", "node-3 (kubelet_silent)", failing=True),))
    legacy = replace(suspended("legacy"), module="custom") if ill else _pods("custom", "legacy", _well())
    fresh = RoutineStatus("custom", "checkout", INTERVAL) if ill else _pods("custom", "checkout", _well())
    egress = _plain("network", "egress", _NETWORK, _well(), 0.01)
    return (
        _pods("rcscheduler", "rcscheduler", [*_well(99), *[broken] * 11]),
        _plain("control-plane", "api", Api.steps, _well(), 0.006),
        _plain("control-plane", "admission", _CONTROLLERS[:2], _well(), 0.01),
        _plain("control-plane", "controllers", _CONTROLLERS, [*_well(108), *[unmade] * 2], 0.1),
        pod,
        _pods("workloads", "job", _well()),
        _plain("workloads", "deployment", _CONTROLLERS, [*_well(90), Reason.POD_NOT_READY, *_well(19)], 1.2),
        _plain("workloads", "collect", _CONTROLLERS, _well(), 0.4),
        _plain("storage", "volume", _VOLUME, _well(), 0.9),
        _pods("storage", "disk", [*_well(40), Reason.IMAGE_PULL_FAILED, *_well(60)]),
        _pods("storage", "config", _well(4)),
        _plain("network", "dns", _NETWORK, _well(), 0.003),
        _plain("network", "service", _NETWORK, _well(), 0.004),
        _plain("network", "latency", _NETWORK, [*_well(), *[throttled] * 3], 0.001),
        _plain("network", "policy", _NETWORK, _well(), 0.3),
        replace(egress, state=State.EXPIRED, since=NOW - 232, due=None) if ill else egress,
        _pods("custom", "pool-a", _well()),
        fresh,
        _plain("custom", "pull-from-registry", _NETWORK, _well(), 1.5),
        legacy,
    )
