"""The simulated cluster's control plane and nodes."""
