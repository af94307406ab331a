"""`khealth demo`: khealth against a simulated cluster inside the process."""

import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from khealth_exporter.app import commands as app
from khealth_exporter.cli import output
from khealth_exporter.config import Config, LeftOut, load, missing_in
from khealth_exporter.modules import MODULES
from khealth_exporter.simulator import Simulator, SimulatorSettings
from khealth_exporter.simulator.faults import MOMENTARY, effect, listed, parse
from khealth_exporter.simulator.settings import CANARY_IMAGE
from khealth_exporter.vocabulary.address import Address

LIST = "list"
"""What lists the faults instead of naming one."""
_PACE = {
    "interval": 20.0,
    "timeout": 8.0,
    "pod_ttl": 4.0,
    "poll_interval": 1.0,
    "projected_within": 6.0,
    "starved_seconds": 1.0,
}
"""Seconds; shorter than the defaults, so that results show soon."""
_SLOWER = {
    "dns": {"timeout": 14.0, "interval": 30.0},
    "egress": {"timeout": 10.0, "interval": 20.0},
    "latency": {"timeout": 24.0, "interval": 60.0},
    "policy": {"timeout": 30.0, "interval": 80.0},
}
"""Seconds of routines that accept no shorter timeout: agents ask twice, or for a while, before they say that nothing
answers."""
_CHECK = {
    "name": "check",
    "image": CANARY_IMAGE,
    "command": ["python3", "-m", "khealth_exporter.canary", "compute", "--n", "90", "--cpu-seconds", "0.1"],
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
_POD = {
    "securityContext": {"runAsNonRoot": True, "runAsUser": 65535, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [_CHECK],
}
_GIVEN: Final[Mapping[str, Mapping[str, Mapping[str, object]]]] = {
    "custom": {"check": {"template": {"kind": "Pod", "spec": _POD}}},
    # The demo leaves this machine alone: its API server stands for what is outside.
    "network": {"egress": {"targets": [{"address": "kubernetes.default.svc:443"}]}},
}
"""Settings of routines that have required ones, by module."""
_CLUSTER = SimulatorSettings()
_AGAIN = 3.0
"""Seconds between two faults of a kind that has no duration."""


def faults() -> str:
    """Return the list of faults for people."""
    return "\n".join(listed())


def check(fault: str) -> str:
    """Return the fault; raise ValueError with the known faults or nodes if the simulator does not have it."""
    _, node = parse(fault)
    nodes = _CLUSTER.node_names
    if node and node not in nodes:
        raise ValueError(f"unknown node {node!r}; the simulated cluster has {', '.join(nodes)}")
    return fault


def start(config: Config, addresses: Sequence[Address], fault: str | None) -> int:
    """Test a simulated cluster until stopped, and serve the results; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="khealth-demo-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        options = app.Options(config, "kubeconfig", kubeconfig, listen=tuple(addresses))
        return app.start(_run, options, kubeconfig, fault)


async def _run(options: app.Options, kubeconfig: Path, fault: str | None, *, process: app.Process) -> int:
    ended: int | app.CannotStart
    async with Simulator(_CLUSTER) as simulator, asyncio.TaskGroup() as group:
        await asyncio.to_thread(kubeconfig.write_text, simulator.kubeconfig(), encoding="utf-8")
        breaking = group.create_task(_break(simulator, fault))
        try:
            ended = await app.run(options, process=process, announce=partial(_announce, fault))
        except app.CannotStart as error:  # raised below, outside of the exception group
            ended = error
        breaking.cancel()
    if isinstance(ended, app.CannotStart):
        raise ended
    return ended


def _announce(fault: str | None, addresses: tuple[Address, ...]) -> None:
    try:
        output.write("".join(f"{line}\n" for line in announcement(addresses[0], fault)))
    except output.CannotWrite as error:
        output.warn(f"khealth: {error}")  # The status page tells the rest.


async def _break(simulator: Simulator, fault: str | None) -> None:
    """Inject a fault; repeat one that has no duration, because there may be no pods yet when it comes."""
    while fault:
        simulator.begin(fault)
        if parse(fault)[0] not in MOMENTARY:
            return
        await asyncio.sleep(_AGAIN)


def configuration() -> Config:
    """Return a configuration with every kind of routine, also those that are off by default, and shorter intervals.

    `left_out` has those that lack a required setting: the author of a routine tries it in the demo first.
    """
    kinds = {
        (module.name, kind.name): () if kind.name in _GIVEN.get(module.name, {}) else missing_in(kind.Settings)
        for module in MODULES
        for kind in module.routines
    }
    complete = [f"{module}/{name}" for (module, name), missing in kinds.items() if not missing]
    document = {"canary": {"image": CANARY_IMAGE}, "modules": _GIVEN}
    config = load(json.dumps(document).encode(), only=complete, modules=MODULES)
    left_out = tuple(LeftOut(module, name, missing) for (module, name), missing in kinds.items() if missing)
    routines = (
        replace(routine, settings=routine.settings.with_known(_PACE | _SLOWER.get(routine.kind.name, {})))
        for routine in config.routines
    )
    return replace(config, routines=tuple(routines), left_out=left_out)


def announcement(address: Address, fault: str | None) -> Iterator[str]:
    """Yield the lines to print: the addresses to open, and the effect of the fault."""
    host = "127.0.0.1" if address.host in {"", "::", "0.0.0.0"} else address.host  # noqa: S104 - only printed
    url = f"http://{Address(host, address.port)}"
    yield "khealth tests a simulated cluster inside this process; no real cluster is involved. Open"
    yield f"  {url}/         status page"
    yield f"  {url}/metrics  metrics for Prometheus"
    yield f"  {url}/status   the state as JSON; {url}/health has it in one line"
    yield "Press Ctrl-C to stop."
    if fault:
        yield f"Injected fault: {effect(fault)}."
        yield f"Within a minute {url}/health shows the verdict, and the status page shows the evidence."
