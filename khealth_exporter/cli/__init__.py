"""The command line of `khealth` and `python -m khealth_exporter`."""

from khealth_exporter.cli.main import main

__all__ = ["main"]
