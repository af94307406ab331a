"""How a phase or an attempt ends."""

from enum import StrEnum


class Result(StrEnum):
    """How a phase or an attempt ended; inconclusive says nothing of the cluster."""

    SUCCESS = "success"
    FAILURE = "failure"
    INCONCLUSIVE = "inconclusive"
