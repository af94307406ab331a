"""Draws the status page: for the README, or, into the folder that is named, in each of its states."""

import sys
from pathlib import Path
from typing import Any

import network_states
import states
import twenty
from browser import browser, served
from playwright.sync_api import Page
from serving import Known

from khealth_exporter.config import Off
from khealth_exporter.core.snapshot import RoutineStatus
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.vocabulary.reason import Reason

_DESK = {"viewport": {"width": 1180, "height": 900}}
_PHONE = {"viewport": {"width": 320, "height": 640}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
_DARK = {"color_scheme": "dark"}
_MANY = (states.failing(), states.well("pool-a"), states.suspended("pool-b"))

_WIDE = {"viewport": {"width": 1280, "height": 800}}
_NARROW = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
_OFF = (
    *(Off("storage", name, "module storage is off by default") for name in ("volume", "disk")),
    Off("network", "egress", "it has a required setting: targets"),
)

_README = {"viewport": {"width": 860, "height": 640}}

Shot = tuple[tuple[RoutineStatus, ...], tuple[Denied, ...], dict[str, Any]]

PICTURES: dict[str, Shot] = {
    "status-well": ((states.well(),), (), _README),
    "status-failing": (twenty.twenty(), (), {"viewport": {"width": 1280, "height": 740}}),
}
"""Those that the README shows."""
SHOTS: dict[str, Shot] = {
    "well": ((states.well(),), (), _DESK),
    "failing": ((states.failing(),), (), _DESK),
    "inconclusive": ((states.inconclusive(),), (), _DESK),
    "suspended": ((states.suspended(),), (), _DESK),
    "expired": ((states.expired(),), (), _DESK),
    "waiting": ((states.waiting(),), (), _DESK),
    "forbidden": ((states.Story().then(Reason.FORBIDDEN, times=3).told(),), states.LACKING, _DESK),
    "many": (_MANY, (), _DESK),
    "twenty": (twenty.twenty(), (), _WIDE),
    "twenty-well": (twenty.twenty(ill=False), (), _WIDE),
    "twenty-dark": (twenty.twenty(), (), _WIDE | _DARK),
    "twenty-phone": (twenty.twenty(), (), _NARROW),
    "twenty-phone-dark": (twenty.twenty(ill=False), (), _NARROW | _DARK),
    "network": ((network_states.latency(12, network_states.name(4)),), (), _WIDE),
    "network-fifty": ((network_states.latency(50),), (), _WIDE),
    "network-fifty-dark": ((network_states.latency(50, network_states.name(7)),), (), _WIDE | _DARK),
    "network-many": ((network_states.latency(500, network_states.name(7)),), (), _WIDE),
    "network-phone": ((network_states.latency(50, network_states.name(7)),), (), _NARROW),
    "network-forced-colors": (
        (network_states.latency(12, network_states.name(4)),),
        (),
        _WIDE | {"forced_colors": "active"},
    ),
    "phone": ((states.failing(),), (), _PHONE),
    "phone-well-dark": ((states.well(),), (), _PHONE | _DARK),
    "dark": ((states.failing(),), (), _DESK | _DARK),
    "dark-well": ((states.well(),), (), _DESK | _DARK),
    "forced-colors": ((states.failing(),), (), _DESK | {"forced_colors": "active"}),
    "without-javascript": ((states.failing(),), (), _DESK | {"java_script_enabled": False}),
}
"""All that there is to look at."""


def _point(page: Page) -> None:
    """Walk to the last attempt but one, if there is one."""
    links = page.locator(".strip").first.locator("a")
    if links.count() > 1:
        links.nth(links.count() - 2).focus()


def main(folder: Path, shots: dict[str, Shot]) -> None:
    """Draw some states into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    known = Known()
    known.now = states.NOW
    with browser() as chromium, served(known) as server:
        for name, (statuses, denied, how) in shots.items():
            known.statuses, known.lacking = statuses, denied
            known.left_out = _OFF if statuses is _MANY else ()
            page = chromium.new_page(**how)
            page.goto(server.url)
            if name not in PICTURES and how.get("java_script_enabled", True):
                _point(page)
            page.screenshot(path=folder / f"{name}.png", full_page=name not in PICTURES)
            page.close()


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]), PICTURES | SHOTS)
    else:
        main(Path(__file__).parent.parent / "docs" / "pictures", PICTURES)
