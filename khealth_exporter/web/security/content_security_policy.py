"""Hashes of inline styles and scripts for a Content-Security-Policy."""

import base64
import hashlib


def hash_source(text: str) -> str:
    """Return the source expression that allows an inline style or script with exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
