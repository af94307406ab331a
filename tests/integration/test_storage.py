"""Routines of storage: the bodies are shared with the other kind of cluster."""

from bodies.storage import *  # noqa: F403
