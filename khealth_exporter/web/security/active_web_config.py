"""The active web configuration, reloaded when its files change."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from khealth_exporter.config.problem import Problem
from khealth_exporter.measure.daemon_thread import in_daemon_thread
from khealth_exporter.web.security.file_digests import current_digests
from khealth_exporter.web.security.web_config import LoadResult, WebConfig, load_web_config

_PERIOD = 2.0
"""Seconds between two checks of the files."""

_log = structlog.get_logger()


class ActiveWebConfig:
    """Holds the active configuration; ConfigError at the start if its file is invalid.

    A change takes effect when two checks in a row see the same content, so that a half-written file is not loaded.
    An invalid change is logged once, and the previous configuration stays active.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._handled: Mapping[Path, str] = {}
        """Digests of the files that were last accepted or rejected."""
        self._pending: Mapping[Path, str] | None = None
        """Digests that the last check saw for the first time."""
        self.config = WebConfig()
        if path:
            result = load_web_config(path)
            self.config, self._handled = result.usable(), result.digests
            self._log_loaded()

    async def reload_on_change(self, on_reload: Callable[[], None], period: float = _PERIOD) -> None:
        """Check the files every `period` seconds, and call `on_reload` after a change has taken effect."""
        while self._path:
            await asyncio.sleep(period)
            try:
                if await self.check_files():
                    on_reload()
            except Exception as error:  # noqa: BLE001 - the active configuration stays, and the next check follows
                _log.error("internal error", exc_info=error)

    async def check_files(self) -> bool:
        """Check the files once; return whether a new configuration is now active."""
        # Reads in a daemon thread: a disk that hangs must not keep khealth from exiting.
        now = await in_daemon_thread(lambda: current_digests(self._handled))
        if now == self._handled:
            self._pending = None
            return False
        if now != self._pending:
            self._pending = now
            return False
        return await self._reload(now)

    async def _reload(self, digests: Mapping[Path, str]) -> bool:
        path = self._path
        assert path  # noqa: S101 - for the type checker: without a path there are no files to check
        result = await in_daemon_thread(lambda: load_web_config(path))
        if any(digests.get(path, digest) != digest for path, digest in result.digests.items()):
            return False  # The files have changed again.
        self._handled, self._pending = result.digests, None
        problems = (*result.problems, *self._not_reloadable(result))
        if result.config is None or problems:
            texts = [str(problem) for problem in problems]
            _log.error("web configuration refused: the previous one stays active", problems=texts)
            return False
        self.config = result.config
        self._log_loaded()
        return True

    def _not_reloadable(self, result: LoadResult) -> tuple[Problem, ...]:
        """Return the errors in a change that would be valid at the start."""
        if result.config is None:
            return ()
        if (result.config.tls is None) != (self.config.tls is None):
            return (Problem(str(self._path), 0, 0, "", "restart khealth to turn TLS on or off"),)
        if self.config.users and not result.config.users and not result.authentication_off:
            what = "has no users: write {} to turn authentication off"
            return (Problem(str(self._path), 0, 0, "basic_auth_users", what),)
        return ()

    def _log_loaded(self) -> None:
        tls, users = self.config.tls is not None, len(self.config.users)
        _log.info("web configuration loaded", file=str(self._path), tls=tls, users=users)
        if not tls and not users:
            _log.warning("no TLS or authentication configured", file=str(self._path))
        for warning in self.config.warnings:
            _log.warning(warning, file=str(self._path))
