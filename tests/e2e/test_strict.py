"""Canary pods in strict clusters: the bodies are shared with the other kind of cluster."""

from bodies.strict import *  # noqa: F403
