"""What a client accepts, by the quality values of its headers (RFC 9110, section 12.4.2)."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_Q = ("q", "Q")
_GZIP = ("gzip", "x-gzip")


def gzip_accepted(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding header allows gzip, and does not prefer an uncompressed response."""
    weights = {coding.lower(): weight for coding, weight in _elements(accept_encoding)}
    named = [weights[coding] for coding in _GZIP if coding in weights]
    weight = max(named, default=weights.get("*", 0.0))
    return weight > 0 and weight >= weights.get("identity", 0.0)


def preferred(accept: str) -> Iterator[Sequence[str]]:
    """Yield the media types of an Accept header, without their weights: those of the highest weight together, first.

    A media type of weight 0 is not acceptable.
    """
    wanted = sorted(((weight, media) for media, weight in _elements(accept) if weight), key=lambda one: -one[0])
    for _, group in groupby(wanted, key=lambda one: one[0]):
        yield [media for _, media in group]


def _elements(header: str) -> Iterator[tuple[str, float]]:
    """Yield each element of a header with its weight; 0 if the weight cannot be read."""
    for element in header.split(","):
        value, *parameters = (part.strip() for part in element.split(";"))
        weights = [text.strip() for name, _, text in (p.partition("=") for p in parameters) if name.strip() in _Q]
        others = [parameter for parameter in parameters if parameter.partition("=")[0].strip() not in _Q]
        if value:
            yield ";".join((value, *others)), _weight(weights[0]) if weights else 1.0


def _weight(text: str) -> float:
    return float(text) if _WEIGHT.fullmatch(text) else 0.0
