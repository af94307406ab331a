"""The headers that authenticate a request."""

import asyncio
from collections.abc import Mapping

from khealth_exporter.cluster.credentials.credentials import Credentials, CredentialsError
from khealth_exporter.cluster.errors import Refusal, no_credentials
from khealth_exporter.measure.clock import Clock

_LEAST = 1.0
"""Seconds that an answer needs at least after the credentials are ready; half of all the time if that is less."""


async def authorized(credentials: Credentials, clock: Clock, seconds: float) -> Mapping[str, str] | Refusal:
    """Return the headers that authenticate a request, or a Refusal if that leaves too little time for an answer."""
    began = clock.now()
    try:
        async with asyncio.timeout(seconds):
            headers = await credentials.headers()
    except (CredentialsError, TimeoutError) as error:
        return no_credentials(error)
    spent = clock.now() - began
    if seconds - spent < min(_LEAST, seconds / 2):
        return no_credentials(TimeoutError(f"the credentials took {spent:.1f} s of {seconds:.1f} s"))
    return headers
