"""Wiring: configuration, cluster, collectors and the web server."""

import importlib
import os

_AUTHORITIES = "SSL_CERT_FILE"
"""Where OpenSSL looks for certificate authorities."""


def _import_aiohttp() -> None:
    """Import aiohttp without the system's certificate authorities.

    It puts them into a TLS context of its own, for requests that name none: 2 MiB that khealth never uses.
    """
    known = os.environ.get(_AUTHORITIES)
    os.environ[_AUTHORITIES] = os.devnull
    try:
        importlib.import_module("aiohttp")
    finally:
        del os.environ[_AUTHORITIES]
        if known is not None:
            os.environ[_AUTHORITIES] = known


_import_aiohttp()
