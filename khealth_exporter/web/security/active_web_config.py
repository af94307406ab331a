"""The web configuration in force, read again when its file changes."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from khealth_exporter.config.problem import Problem
from khealth_exporter.measure.daemon_thread import in_daemon_thread
from khealth_exporter.web.security.files import look
from khealth_exporter.web.security.web_config import Reading, WebConfig, read_web

_PERIOD = 2.0
"""Seconds between two looks at the files."""

_log = structlog.get_logger()


class ActiveWebConfig:
    """Holds the configuration in force; ConfigError from the beginning if its file cannot be used.

    A change comes into force when two looks in a row have seen the same: what is being written is not read by halves.
    What cannot be used is told in the log, once, and the old configuration stays.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._decided: Mapping[Path, str] = {}
        self._pending: Mapping[Path, str] | None = None
        self.config = WebConfig()
        if path:
            reading = read_web(path)
            self.config, self._decided = reading.usable(), reading.seen
            self._tell()

    async def follow(self, renewed: Callable[[], None], period: float = _PERIOD) -> None:
        """Look again and again, every `period` seconds, and call `renewed` after a change has come into force."""
        while self._path:
            await asyncio.sleep(period)
            try:
                if await self.look():
                    renewed()
            except Exception as error:  # noqa: BLE001 - what was in force stays, whatever happens here
                _log.error("internal error", exc_info=error)

    async def look(self) -> bool:
        """Look at the files, and tell whether a new configuration is in force."""
        now = await in_daemon_thread(lambda: look(self._decided))
        if now == self._decided:
            self._pending = None
            return False
        if now != self._pending:
            self._pending = now
            return False
        return await self._renew(now)

    async def _renew(self, seen: Mapping[Path, str]) -> bool:
        path = self._path
        assert path  # noqa: S101 - without a path nothing is ever looked at
        reading = await in_daemon_thread(lambda: read_web(path))
        if any(seen.get(path, content) != content for path, content in reading.seen.items()):
            return False  # it has changed again
        self._decided, self._pending = reading.seen, None
        problems = (*reading.problems, *self._unchangeable(reading))
        if reading.config is None or problems:
            said = [str(problem) for problem in problems]
            _log.error("web configuration refused: the previous one stays active", problems=said)
            return False
        self.config = reading.config
        self._tell()
        return True

    def _unchangeable(self, reading: Reading) -> tuple[Problem, ...]:
        """Return what forbids this change, though it would be well at a start."""
        if reading.config is None:
            return ()
        if (reading.config.tls is None) != (self.config.tls is None):
            return (Problem(str(self._path), 0, 0, "", "TLS is switched on or off by a restart alone"),)
        if self.config.users and not reading.config.users and not reading.unguarded:
            what = "no users are left: write {} to turn authentication off"
            return (Problem(str(self._path), 0, 0, "basic_auth_users", what),)
        return ()

    def _tell(self) -> None:
        tls, users = self.config.tls is not None, len(self.config.users)
        _log.info("web configuration loaded", file=str(self._path), tls=tls, users=users)
        if not tls and not users:
            _log.warning("no TLS or authentication configured", file=str(self._path))
        for note in self.config.notes:
            _log.warning(note, file=str(self._path))
