"""Reload: reads the configuration again when asked to, or when its file has changed; a bad one is refused whole."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from khealth_exporter.config import Bound, Config, ConfigError, Problem, digest
from khealth_exporter.core.metrics import Metrics

PERIOD = 5.0
"""Seconds between two looks at the file: a ConfigMap's is swapped behind its name, so that only its content tells."""
SETTLING = 2.0
"""Seconds between two looks at a changed file: only if both see the same is it loaded, so not while it is written."""
READING = 60.0
"""Seconds to read the file and to check what it says: a disk that hangs must not block a reload for good."""
_ENDING = "khealth is stopping: it does not reload the configuration"
_NOTHING = "khealth has no configuration file to reload"

_T = TypeVar("_T")
_log = structlog.get_logger()


class Load(Protocol):
    """Reads the configuration and applies the command line's overrides; raises ConfigError."""

    def __call__(self, *, bound: Bound | None = None) -> Config:
        """Return it; for a run that is `bound` to a namespace, another one is wrong."""


class Aside(Protocol):
    """Calls a function that takes its time, and keeps the event loop free meanwhile."""

    def __call__(self, call: Callable[[], _T], /) -> asyncio.Future[_T]:
        """Return what will hold its result."""


class Reloader:
    """Holds the active configuration, and replaces it.

    `adopt` gets each one that becomes active.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - it has these parts
        self,
        config: Config,
        load: Load | None,
        bound: Bound,
        adopt: Callable[[Config], None],
        metrics: Metrics,
        aside: Aside,
    ) -> None:
        self.config = config
        """The active configuration."""
        self._load, self._bound, self._adopt = load, bound, adopt
        self._metrics, self._aside = metrics, aside
        self._file = Path(config.file) if load and config.file else None
        self._seen: str | None = config.digest
        """The digest of the content that was read last, accepted or refused."""
        self._turn, self._asked = asyncio.Lock(), asyncio.Event()
        self._reading: asyncio.Future[Any] | None = None
        self._closed = False

    def ask(self) -> None:
        """Let the configuration be read again soon, by `run`."""
        self._asked.set()

    def close(self) -> None:
        """Refuse every configuration from now on."""
        self._closed = True

    async def run(self) -> None:
        """Reload when asked to, and when the file holds something else than at the last reading; until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD if self._file else None):
                    await self._asked.wait()
            if self._asked.is_set():
                self._asked.clear()
                await self.reload("signal")
            elif changed := await self._changed():
                await self.reload("changed file", only=changed)

    async def _changed(self) -> str | None:
        """Return the digest of the file if it has changed, and two looks in a row see the same; else None."""
        seen = await self._look()
        if seen is None or seen == self._seen:
            return None
        await asyncio.sleep(SETTLING)
        return seen if seen == await self._look() else None

    async def _look(self) -> str | None:
        """Return the digest of the file; None if it says nothing."""
        if self._file is None or self._closed:
            return None
        file = self._file
        try:
            async with self._turn:
                return await self._beside(lambda: digest(file))
        except TimeoutError:
            return None  # A requested reload reports it; a file that cannot be read has not changed.

    async def reload(self, cause: str, *, only: str | None = None) -> tuple[str, ...]:
        """Read the configuration again; return what is wrong with it, in lines, or () once it is active.

        With `only`, do nothing if the file has another digest by now. Routines that the active configuration stops may
        still be cleaning up.
        """
        async with self._turn:
            if refused := self._refusal():
                return refused
            try:
                seen, config = await self._beside(self._read)
            except TimeoutError:
                # The file was not loaded, even if the disk answers later: read it again when the disk is back.
                self._seen = None
                return self._refused(cause, (f"{self.config.file}: was not read within {READING:g} s",))
            except Exception as error:  # noqa: BLE001 - a bug in reading must end neither the loop nor the request
                _log.error("internal error", loop="reload", exc_info=error)
                return self._refused(cause, (f"internal error: {type(error).__name__}: {error}",))
            refused = self._refusal()
            if refused or only not in {None, config.digest if isinstance(config, Config) else seen}:
                return refused  # A file that has changed again is for the next looks.
            # It was taken before the file was loaded: what has changed in between is noticed at the next look.
            self._seen = seen
            if isinstance(config, ConfigError):
                return self._refused(cause, tuple(map(str, config.problems)))
            before, self.config = self.config, config
            self._adopt(config)
            self._metrics.loaded(well=True)
            _log.info("configuration loaded", cause=cause, file=config.file, **changes(before, config, time.time()))
            return ()

    def _refusal(self) -> tuple[str, ...]:
        if self._closed:
            return (_ENDING,)
        return () if self._load else (_NOTHING,)

    def _refused(self, cause: str, problems: tuple[str, ...]) -> tuple[str, ...]:
        self._metrics.loaded(well=False)
        for problem in problems:
            _log.error("configuration refused: the previous one stays active", cause=cause, problem=problem)
        return problems

    def _read(self) -> tuple[str | None, Config | ConfigError]:
        """Return what tells the file's content, and the configuration or all that is wrong with it."""
        assert self._load  # noqa: S101 - for the type checker: `_refusal` has asked
        seen = digest(self._file) if self._file else None
        if self._file and seen is None:
            message = "is no regular file: it cannot be read a second time"
            return seen, ConfigError((Problem(str(self._file), 0, 0, "", message),))
        try:
            return seen, self._load(bound=self._bound)
        except ConfigError as error:
            return seen, error

    async def _beside(self, call: Callable[[], _T]) -> _T:
        """Return what a function returns that reads the file; TimeoutError where the disk hangs."""
        if self._reading and not self._reading.done():
            raise TimeoutError  # One thread that hangs is enough.
        reading = self._aside(call)
        self._reading = reading
        await asyncio.wait({reading}, timeout=READING)
        if not reading.done():
            reading.add_done_callback(
                lambda late: late.cancelled() or late.exception()
            )  # Its result is no longer needed.
            raise TimeoutError
        return reading.result()


def changes(before: Config, after: Config, now: float) -> Mapping[str, list[str]]:
    """Return which routines are added, removed, changed, suspended and resumed, each as `module/routine`.

    `now` is in Unix seconds.
    """
    old = {f"{routine.module}/{routine.label}": routine for routine in before.routines}
    new = {f"{routine.module}/{routine.label}": routine for routine in after.routines}

    def kinds() -> Iterator[tuple[str, str]]:
        yield from (("removed", name) for name in old if name not in new)
        for name, routine in new.items():
            was, rests = old.get(name), routine.settings.suspended_at(now)
            if was is None:
                yield "added", name
            elif was.settings.suspended_at(now) is not rests:
                yield "suspended" if rests else "resumed", name
            elif was != routine:
                yield "changed", name

    found: dict[str, list[str]] = {}
    for kind, name in kinds():
        found.setdefault(kind, []).append(name)
    return found
