"""Stop: a flag that asks for an end."""

import asyncio

from khealth_exporter.vocabulary.verdict import Failed


class Stop:
    """A flag that asks for an end; nothing is cancelled by it."""

    def __init__(self, *, requested: bool = False, why: Failed | None = None) -> None:
        self._raised = asyncio.Event()
        self.why: Failed | None = why
        """What an init that is cut short means, unless a request of its own was refused; None for an interruption."""
        if requested:
            self.request(why)

    def request(self, why: Failed | None = None) -> None:
        """Ask for an end."""
        self.why = why
        self._raised.set()

    @property
    def requested(self) -> bool:
        """Whether an end is asked for."""
        return self._raised.is_set()

    async def wait(self) -> None:
        """Return once an end is asked for."""
        await self._raised.wait()
