"""Agents: canaries on the nodes that measure for routines."""
