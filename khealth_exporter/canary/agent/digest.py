"""SHA-256 and HMAC without OpenSSL, which hashlib and hmac load: it would be a fifth of an idle agent's memory."""

try:
    from _sha2 import sha256  # type: ignore[import-not-found]  # Python 3.12 and later.
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha256

_BLOCK = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


def digest(data: bytes) -> bytes:
    """Return the SHA-256 digest of bytes."""
    found: bytes = sha256(data).digest()
    return found


def mac(key: bytes, data: bytes) -> bytes:
    """Return the HMAC-SHA256 of bytes, see RFC 2104."""
    block = (digest(key) if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return digest(block.translate(_OUTER) + digest(block.translate(_INNER) + data))


def equal(one: bytes, other: bytes) -> bool:
    """Compare digests in a time that does not tell where they differ."""
    difference = len(one) ^ len(other)
    for left, right in zip(one, other, strict=False):
        difference |= left ^ right
    return not difference
