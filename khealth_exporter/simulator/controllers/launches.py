"""How the process of a pod is started: its command, its environment, and what stands for its paths."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from khealth_exporter.simulator import programs
from khealth_exporter.simulator.documents import Document, metadata, name_of, spec_of, status_of

_PACKAGES: Final = Path(__file__).parents[3]
"""The directory from which canaries import their package."""
_REFERENCE: Final = re.compile(r"\$(\$|\(([^()]+)\))")
_LABEL: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_AGENT: Final = "agent"


def is_canary(pod: Document) -> bool:
    """Tell whether the pod's only container is a canary."""
    containers = spec_of(pod)["containers"]
    return len(containers) == 1 and command(containers[0])[1:3] == ["-m", programs.MODULE]


def is_agent(pod: Document) -> bool:
    """Tell whether the pod is a canary that stays, and that is reached over the network."""
    return is_canary(pod) and command(spec_of(pod)["containers"][0])[3:4] == [_AGENT]


def command(container: Document) -> list[str]:
    """Return the command of a container with its arguments."""
    return [*(container.get("command") or []), *(container.get("args") or [])]


def basics(pod: Document) -> dict[str, str]:
    """Return the environment of every process on this machine."""
    return {"PATH": os.defpath, "HOSTNAME": name_of(pod), "PYTHONPATH": str(_PACKAGES)}


def environment(pod: Document) -> dict[str, str]:
    """Return the environment that the pod declares for its container."""
    found: dict[str, str] = {}
    for entry in spec_of(pod)["containers"][0].get("env") or []:
        path = ((entry.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
        found[entry["name"]] = _field(pod, path) if path else expanded(str(entry.get("value", "")), found)
    return found


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with the value of each `$(NAME)`; a name that is not known stays, and `$$` is a dollar."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[1] == "$" else variables.get(match[2], match[0])

    return _REFERENCE.sub(value, text)


def translated(argument: str, paths: Mapping[str, Path]) -> str:
    """Return the argument with a path of the container, perhaps after `--name=`, as one of this machine."""
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    for path in sorted(paths, key=len, reverse=True):
        if value == path or value.startswith(f"{path.rstrip('/')}/"):
            return f"{option}{equals}{paths[path]}{value[len(path.rstrip('/')) :]}"
    return argument


def _field(pod: Document, path: str) -> str:
    """Return a field of the pod, as the downward API names it."""
    if label := _LABEL.fullmatch(path):
        return str((metadata(pod).get(label[1]) or {}).get(label[2], ""))
    group, _, name = path.partition(".")
    fields: Document = {"metadata": metadata, "spec": spec_of, "status": status_of}[group](pod)
    return str(fields.get(name) or "")
