"""Renders the chart into one file, for those who install by `kubectl apply`."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
CHART, FILE = FOLDER / "chart", FOLDER / "khealth.yaml"

HEADER = """\
# All of khealth, in the namespace khealth: kubectl apply -f khealth.yaml
# Written by `make render` from deploy/chart with its default values: change those, not this.
"""
_HELM = re.compile(r"^ +(?:helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", re.MULTILINE)
"""Labels that name the Helm release of an object: here there is none."""
_SOURCE = re.compile(r"^# Source: .*\n", re.MULTILINE)


def helm() -> str | None:
    """Return where helm is, None where it is not."""
    tools = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "khealth-tools" / "bin"
    return shutil.which("helm") or shutil.which("helm", path=tools)


def rendered(command: str) -> str:
    """Return the single file; CalledProcessError if helm has something against it."""
    words = [command, "template", "khealth", str(CHART), "--namespace=khealth", "--set=namespace.create=true"]
    text = subprocess.run([*words, "--no-hooks"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    documents = [_plain(document) for document in re.split(r"^---\n", text, flags=re.MULTILINE)]
    # What lies in a namespace can only come after it; the rest is in helm's order already.
    documents.sort(key=lambda document: "\nkind: Namespace\n" not in document)
    return HEADER + "".join(f"---\n{document}" for document in documents if document)


def _plain(document: str) -> str:
    text = _HELM.sub("", _SOURCE.sub("", document)).strip()
    return f"{text}\n" if text else ""


def main() -> int:
    """Write the single file."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    command = helm()
    if command is None:
        print("make render: helm is neither on PATH nor in ~/.cache/khealth-tools/bin", file=sys.stderr)  # noqa: T201
        return 1
    FILE.write_text(rendered(command))
    return 0


if __name__ == "__main__":
    sys.exit(main())
