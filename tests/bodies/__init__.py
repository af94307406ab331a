"""Test bodies that run on the simulator (tests/integration) and on a real cluster (tests/e2e) alike."""
