"""The option dryRun of write requests."""

from collections.abc import Sequence
from typing import Final

from khealth_exporter.simulator import errors, pod_rules
from khealth_exporter.simulator.resources import Resource

_ALL: Final = "All"


def asked(values: Sequence[str], options: str) -> bool:
    """Tell whether a request of this kind of options, such as CreateOptions, must not be stored.

    Raises `ApiError` (422) for another value than `All`.
    """
    if any(value != _ALL for value in values):
        kind = Resource("meta.k8s.io", "v1", "", options)
        raise errors.invalid(kind, "", [pod_rules.unsupported("dryRun", list(values), _ALL)])
    return bool(values)
