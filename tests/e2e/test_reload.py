"""Reloading and suspending: the bodies are shared with the other kind of cluster."""

from bodies.reload import *  # noqa: F403
