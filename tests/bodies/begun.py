"""A `khealth run` whose first attempt has come where a test wants it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bodies.attempts import TRIES
from bodies.target import Running, Target, wait_for

Start = Callable[[], AbstractContextManager[Running]]
Goal = Callable[[Running], bool]


def all_held(target: Target) -> bool:
    """Tell whether the three pods are Ready and stay."""
    pods = target.pods()
    ready = [c for pod in pods for c in pod.status.conditions or [] if c.type == "Ready" and c.status == "True"]
    return len(pods) == len(ready) == 3 and not any(pod.metadata.deletion_timestamp for pod in pods)


@contextmanager
def begun(start: Start, goal: Goal) -> Iterator[Running]:
    """Run khealth for the block, with its first attempt at the goal.

    If that has its verdict before, because the machine was busy, khealth starts again, five times in all: counters are
    as if nothing had happened.
    """
    for left in reversed(range(TRIES)):
        with start() as running:
            if _arrives(running, goal) or not left:
                yield running
                return
            running.stop()


def _arrives(running: Running, goal: Goal) -> bool:
    """Tell whether the first attempt gets to the goal, once that is known."""

    def known() -> str:
        if goal(running):
            return "there"
        judged = running.metric("khealth_attempts_total")
        return ("there" if goal(running) else "over") if judged else ""

    return bool(wait_for("the first attempt's goal, or its end", known, 120) == "there")


def in_hold(target: Target, start: Start) -> AbstractContextManager[Running]:
    """Do so with the pods of the first attempt in their hold."""
    return begun(start, lambda running: all_held(target) and not running.metric("khealth_attempts_total"))


def holding_pods(target: Target, settings: Path) -> AbstractContextManager[Running]:
    """Do so with rcscheduler."""
    return in_hold(target, lambda: target.running(settings))


def succeeding(target: Target, settings: Path, kubeconfig: Path | None = None) -> AbstractContextManager[Running]:
    """Run rcscheduler for the block, with its first attempt a success."""
    return begun(lambda: target.running(settings, kubeconfig=kubeconfig), lambda running: running.state() == 200)
