"""`khealth once`: the bodies are shared with the other kind of cluster."""

from bodies.once import *  # noqa: F403
