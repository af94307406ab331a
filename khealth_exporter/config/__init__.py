"""The configuration file: its schema comes from the routines' settings, and every error has its place."""

from khealth_exporter.config.document import digest
from khealth_exporter.config.load import Bound, Config, load
from khealth_exporter.config.problem import ConfigError, Problem
from khealth_exporter.config.schema import Setting, settings_of
from khealth_exporter.core.routine import RoutineConfig

__all__ = ["Bound", "Config", "ConfigError", "Problem", "RoutineConfig", "Setting", "digest", "load", "settings_of"]
