"""Checks made for Kuberhealthy: the bodies are shared with the other kind of cluster."""

from bodies.kuberhealthy import *  # noqa: F403
