"""The configuration file: its schema comes from the routines' settings, and every error has its place."""

from khealth_exporter.config.load import Config, RoutineConfig, load
from khealth_exporter.config.problem import ConfigError, Problem
from khealth_exporter.config.schema import Setting, settings_of

__all__ = ["Config", "ConfigError", "Problem", "RoutineConfig", "Setting", "load", "settings_of"]
