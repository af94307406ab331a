"""What khealth owns in a cluster: the bodies are shared with the other kind of cluster."""

from bodies.owned import *  # noqa: F403
