"""Where khealth's figures about itself go."""

from typing import Protocol


class Telemetry(Protocol):
    """Where khealth's figures about itself go; times in seconds."""

    def request(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Count a request; `code` is the HTTP status, or `none` where no answer came."""

    def watch_restarted(self, cause: str) -> None:
        """Count a watch that had to be opened again, or its list taken again."""

    def watch_lag(self, seconds: float) -> None:
        """Take a bound of how late the watch shows what was written."""

    def watch_read_delay(self, seconds: float) -> None:
        """Take how long what a watch told waited between the kernel and khealth."""

    def loop_busy(self, seconds: float) -> None:
        """Take how long one iteration kept the event loop busy."""

    def swept(self, kind: str) -> None:
        """Count an object of a dead run that was deleted."""

    def objects(self, kind: str, count: int) -> None:
        """Set how many objects of a kind khealth knows to exist in its namespace."""

    def forget_objects(self, kind: str) -> None:
        """Drop the number of objects of a kind that khealth no longer creates."""
