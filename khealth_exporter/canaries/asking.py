"""How long to ask before a verdict, and when khealth itself was too late to give one."""

from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

ASKING = 5.0
"""Seconds for the questions that precede a verdict."""
STARVED = 2.0
"""Seconds after its deadline at which an attempt that wakes up only then was starved itself."""


def check_awake(late: float) -> None:
    """Raise Failed if an attempt wakes up so many seconds after its deadline that it was starved itself."""
    if late > STARVED:
        raise Failed(Reason.PROBER_STARVED, f"khealth did not run for {late:.1f} s")
