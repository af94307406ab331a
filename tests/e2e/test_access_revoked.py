"""Rights and tokens that are taken away and given back: the bodies are shared with the other kind of cluster."""

from bodies.access_revoked import *  # noqa: F403
