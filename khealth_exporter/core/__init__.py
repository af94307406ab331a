"""Routine, Runner, Supervisor, Collector, Snapshot, Metrics."""
