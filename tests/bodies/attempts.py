"""What `khealth once` says, and what is tried again because a busy machine has spoiled it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from khealth_exporter.vocabulary.reason import Reason

TRIES = 5
SPOILED = frozenset({
    Reason.NO_SINGLE_CAUSE,
    Reason.PROBER_STARVED,
    Reason.WATCH_INTERRUPTED,
    Reason.AGENTS_NOT_READY,
    Reason.AGENT_UNREACHABLE,
})  # fmt: skip
"""Reasons by which an attempt says that it does not know: khealth, an agent, or several parts came late."""
NO_CPU = "agents without a CPU"
"""The remark that names agents whose answers do not count."""

T = TypeVar("T")


def repeated(attempt: Callable[[], T], useless: Callable[[T], bool]) -> T:
    """Return what an attempt comes to; as long as that is useless, try again, five times in all."""
    for _ in range(TRIES - 1):
        found = attempt()
        if not useless(found):
            return found
    return attempt()


async def repeated_async(attempt: Callable[[], Awaitable[T]], useless: Callable[[T], bool]) -> T:
    """Do the same with a coroutine function."""
    for _ in range(TRIES - 1):
        found = await attempt()
        if not useless(found):
            return found
    return await attempt()


@dataclass(frozen=True)
class Once:
    """What `khealth once --json` said."""

    code: int
    document: Mapping[str, Any]
    log: str

    @property
    def attempt(self) -> Mapping[str, Any]:
        """The one attempt."""
        (attempt,) = self.document["attempts"]
        return attempt  # type: ignore[no-any-return]

    @property
    def attempts(self) -> Sequence[Mapping[str, Any]]:
        """All attempts."""
        return self.document["attempts"]  # type: ignore[no-any-return]

    @property
    def told(self) -> list[tuple[str, ...]]:
        """What each attempt says, in short."""
        parts = ("routine", "result", "reason", "component", "note")
        return [tuple(str(found[part]) for part in parts) for found in self.document["attempts"]]

    @property
    def blamed(self) -> dict[str, tuple[str, str]]:
        """Component and reason of each routine whose attempt failed."""
        failed = (found for found in self.document["attempts"] if found["result"] == "failure")
        return {found["routine"]: (found["component"], found["reason"]) for found in failed}

    @property
    def well(self) -> set[str]:
        """The routines whose attempt succeeded."""
        return {found["routine"] for found in self.document["attempts"] if found["result"] == "success"}

    @property
    def verdict(self) -> tuple[int, str, str | None]:
        """Exit code, result and reason."""
        return self.code, self.attempt["result"], self.attempt["reason"]

    @property
    def spoiled(self) -> bool:
        """Whether an attempt says that somebody did not run in time, and so says less of the cluster than it could."""
        return any(
            found["reason"] in SPOILED or found.get("remarks", {}).get(NO_CPU, "none") != "none"
            for found in self.attempts
        )
