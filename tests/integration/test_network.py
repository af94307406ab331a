"""Routines of the network: the bodies are shared with the other kind of cluster."""

from bodies.network import *  # noqa: F403
