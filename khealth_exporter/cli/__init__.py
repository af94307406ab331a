"""The commands: what `khealth` and `python -m khealth_exporter` do."""

from khealth_exporter.cli.commands import main

__all__ = ["main"]
