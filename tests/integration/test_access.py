"""Rights that are missing: the bodies are shared with the other kind of cluster."""

from bodies.access import *  # noqa: F403
