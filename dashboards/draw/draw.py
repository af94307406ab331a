"""Draws a dashboard as Grafana's own components show it: answers of a Prometheus in, a picture out, no Grafana."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route, sync_playwright

from dashboards.draw.answers import Look, Prometheus, answers

FOLDER = Path(__file__).parent
BUNDLE = FOLDER / "build" / "draw.js"
ICONS = FOLDER / "node_modules" / "@grafana" / "ui" / "dist" / "public"
NPM = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--omit-lockfile-registry-resolved")
BUILD = ("npm", "run", "build", "--silent")
CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SCREEN = (1920, 1080)


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", help="its address: http://127.0.0.1:9090")
    parser.add_argument(
        "--answers", type=Path, help="recorded ones, instead of a Prometheus; with one: where to record"
    )
    parser.add_argument("--dashboard", default="khealth", help="khealth or khealth-clusters; default khealth")
    parser.add_argument("--out", type=Path, required=True, help="the picture's file")
    parser.add_argument("--minutes", type=float, default=360, help="how far back; default 360")
    parser.add_argument("--scrape", type=int, default=15, help="seconds between two scrapes; default 15")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a variable, e.g. cluster=berlin"
    )
    parser.add_argument("--mode", choices=("dark", "light"), default="dark")
    parser.add_argument("--whole", action="store_true", help="what is below the first screen, too")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    told = parser.parse_args()
    if not (told.prometheus or told.answers):
        parser.error("--prometheus or --answers is needed")
    return told


def looked(told: argparse.Namespace) -> dict[str, Any]:
    """Return what is to be drawn: as Prometheus answers now, or as it was recorded."""
    if not told.prometheus:
        return json.loads(told.answers.read_text())  # type: ignore[no-any-return]
    board = json.loads((FOLDER.parent / f"{told.dashboard}.json").read_text())
    now = time.time()
    chosen = dict(pair.split("=", 1) for pair in told.set)
    found = answers(Prometheus(told.prometheus), Look(board, now - 60 * told.minutes, now, told.scrape, chosen))
    if told.answers:
        told.answers.write_text(json.dumps(found))
    return found


def bundled() -> Path:
    """Return the script that draws, made once by npm."""
    if not (FOLDER / "node_modules").exists():
        subprocess.run(NPM, cwd=FOLDER, check=True)  # noqa: S603
    sources = [*(FOLDER / "src").iterdir(), FOLDER / "package.json"]
    if not BUNDLE.exists() or BUNDLE.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        subprocess.run(BUILD, cwd=FOLDER, check=True)  # noqa: S603
    return BUNDLE


def served(route: Route) -> None:
    """Answer the page's requests: Grafana's icons, and nothing else."""
    address = route.request.url
    icon = ICONS / address.partition("/public/")[2]
    if "/public/" in address and icon.is_file():
        route.fulfill(path=icon)
    elif address.endswith("/draw"):
        route.fulfill(content_type="text/html", body='<!doctype html><body style="margin:0"><div id="board"></div>')
    else:
        route.abort()


def drawn(page: Page, found: dict[str, Any], mode: str) -> None:
    """Draw, and return when everything is there."""
    page.route("**/*", served)
    page.goto("http://drawing.invalid/draw")
    script = bundled()
    page.add_style_tag(path=script.with_suffix(".css"))
    page.add_script_tag(path=script)
    page.evaluate("told => window.draw(told)", {**found, "width": SCREEN[0], "mode": mode})
    page.wait_for_function("n => document.querySelectorAll('section').length >= n", arg=_panels(found))
    page.wait_for_function("n => document.querySelectorAll('section svg').length >= n", arg=_panels(found))
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")


def _panels(found: dict[str, Any]) -> int:
    return sum(panel["type"] != "row" for panel in found["board"]["panels"])


def main() -> int:
    """Draw one picture."""
    told = arguments()
    found = looked(told)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=told.chromium, args=[*CHROMIUM])
        page = browser.new_page(viewport={"width": SCREEN[0], "height": SCREEN[1]})
        page.on("pageerror", lambda error: print(error, file=sys.stderr))  # noqa: T201
        drawn(page, found, told.mode)
        page.screenshot(path=told.out, full_page=told.whole)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
