"""Quantities of resources as Kubernetes writes them."""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, StringConstraints

QUANTITY = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,3})?$"
"""What Kubernetes accepts as an amount of cpu or memory: apimachinery, pkg/api/resource/quantity.go."""

_PARTS = re.compile(r"([0-9.]+)(.*)")
_SUFFIXES = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_THOUSAND = {suffix: Decimal(1000) ** (power - 3) for power, suffix in enumerate(_SUFFIXES)}
_BINARY = {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)}


def quantity_text(value: object) -> object:
    """Return a number as text, as YAML has `cpu: 1`; raise ValueError for a text that is not a quantity."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and not re.match(QUANTITY, value):
        raise ValueError(f"{value!r} is not a quantity: write an amount such as 500m, 1 or 64Mi")
    return value


Quantity = Annotated[str, BeforeValidator(quantity_text), StringConstraints(pattern=QUANTITY)]
"""An amount of a resource, at least 0: `500m`, `1`, `64Mi`."""


def amount(quantity: str) -> Decimal:
    """Return a Quantity in cores, bytes or pieces."""
    number, suffix = _PARTS.fullmatch(quantity).groups()  # type: ignore[union-attr]
    factor = (_THOUSAND | _BINARY).get(suffix)
    return Decimal(number) * (Decimal(f"1{suffix}") if factor is None else factor)
