"""The configuration file: the schema follows from the routines' settings, and every error has a place."""

from khealth_exporter.config.config import Bound, Config, LeftOut
from khealth_exporter.config.document import digest, read_all
from khealth_exporter.config.load import load
from khealth_exporter.config.off import Off, off_because, off_routines
from khealth_exporter.config.packages import Installed, installed
from khealth_exporter.config.problem import ConfigError, Problem
from khealth_exporter.config.schema import Setting, missing_in, settings_of
from khealth_exporter.core.routine import RoutineConfig

__all__ = [
    "Bound",
    "Config",
    "ConfigError",
    "Installed",
    "LeftOut",
    "Off",
    "Problem",
    "RoutineConfig",
    "Setting",
    "digest",
    "installed",
    "load",
    "missing_in",
    "off_because",
    "off_routines",
    "read_all",
    "settings_of",
]
