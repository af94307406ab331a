"""`khealth demo`: khealth against a simulated cluster inside the process."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from khealth_exporter import app
from khealth_exporter.config import Config, load
from khealth_exporter.simulator import FAULTS, Simulator, SimulatorSettings, parse_fault
from khealth_exporter.web.address import Address

PACE = """
modules:
  rcscheduler:
    rcscheduler: {interval: 15s, timeout: 4s, pod_ttl: 5s, poll_interval: 1s}
"""
"""A configuration that lets a stranger see something within seconds."""
