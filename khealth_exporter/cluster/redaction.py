"""What never leaves the process: the user part of a URL, tokens, passwords, and private keys."""

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from urllib.parse import quote

_INSTEAD = "[redacted]"

_LEAST = 4
"""Characters of a known secret: to replace every occurrence of a shorter one would make texts unreadable."""

_WORD = r"[\w.~+/=-]"

_PATTERNS = tuple(
    (re.compile(pattern, re.DOTALL), instead)
    for pattern, instead in (
        # The user part of a URL, even where its password holds an unescaped @ or /, so that no reader finds the host.
        (r"(?<=://)(?:[^\s/?#\"'<>]*|[^\s/@\"'<>]*:(?!\d+(?:[/?#\s\"']|$))[^\s\"'<>]*)@", ""),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", _INSTEAD),
        (rf"(?i)((?:proxy-)?authorization[\"']?\s*[:=]\s*)[\"']?(?:[a-z]+\s+)?{_WORD}+", rf"\1{_INSTEAD}"),
        # Not "Basic authentication", nor "bearer token".
        (rf"((?i:bearer|basic)\s+)(?={_WORD}*[\dA-Z+=]){_WORD}{{6,}}", rf"\1{_INSTEAD}"),
        # JSON web tokens; those of EKS, of Google Cloud, and of OpenShift.
        (r"\b(?:eyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)*|k8s-aws-v1\.[\w-]+|ya29\.[\w.-]+|sha256~[\w-]{20,})", _INSTEAD),
        (r"(?i)((?:token|passw(?:or)?d|secret|[\w-]*key-?data)=)[^\s\"'&;,<>]+", rf"\1{_INSTEAD}"),
        (r"(?i)([\"'](?:[\w-]*token|passw(?:or)?d|client-?key-?data)[\"']\s*:\s*)[\"'][^\"']*[\"']?", rf"\1{_INSTEAD}"),
    )
)


def secrets_of(authorization: str) -> Iterator[str]:
    """Yield the secrets in the value of an Authorization header: what follows its scheme, and a password in that."""
    scheme, _, value = authorization.partition(" ")
    yield value
    if scheme == "Basic":
        said = b64decode(value)
        password = said.partition(b":")[2]
        yield from (said.decode(errors="replace"), password.decode(errors="replace"), quote(password, safe=""))


def redacted(text: str, known: Iterable[str] = ()) -> str:
    """Return text without what looks like a secret, and without the secrets that are `known`."""
    for secret in known:
        if len(secret) >= _LEAST:
            text = text.replace(secret, _INSTEAD)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
