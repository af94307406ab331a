"""Users' checks: the bodies are shared with the other kind of cluster."""

from bodies.custom import *  # noqa: F403
