"""`khealth run`, signals and sweeps: the bodies are shared with the other kind of cluster."""

from bodies.run import *  # noqa: F403
