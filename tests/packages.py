"""Tiny packages with routines, installed into a folder of their own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROUTINE = '''
from khealth_exporter.core.routine import Routine, RoutineSettings
from khealth_exporter.modules import Module
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reading import Figure
from khealth_exporter.vocabulary.step import Step


class Settings(RoutineSettings):
    """Settings of till."""

    word: str = "hello"
    """What the till says."""


class Till(Routine[Settings]):
    """Ask the till."""

    name = "till"
    steps = (Step("ask", Component.WORKLOAD, "asked → answered"),)
    figures = (Figure("shop_coins", "Coins."),)
    writes = 0
    Settings = Settings

    async def init(self):
        """Ask."""

    async def cleanup(self):
        """Leave nothing."""


SHOP = Module("shop", "the shop works", (Till,), default=False)
'''
"""The source of a package that works."""


@contextmanager
def package(folder: Path, source: str = ROUTINE, points: str = "shop = shop_checks:SHOP") -> Iterator[None]:
    """Have a package `shop-checks` installed in a folder, with these entry points, until the block ends."""
    info = folder / "shop_checks-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-checks\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[khealth.routines]\n{points}\n")
    (folder / "shop_checks.py").write_text(source)
    sys.path.insert(0, str(folder))
    sys.modules.pop("shop_checks", None)
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("shop_checks", None)
