"""`khealth demo`: khealth against a simulated cluster inside the process."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from khealth_exporter.app import commands as app
from khealth_exporter.config import Config, load
from khealth_exporter.simulator import Simulator, SimulatorSettings
from khealth_exporter.simulator.faults import FAULTS, MOMENTARY, parse
from khealth_exporter.web.address import Address

_PACE = {"interval": 15.0, "timeout": 4.0, "pod_ttl": 5.0, "poll_interval": 1.0}
"""Seconds: a stranger is to see something at once."""
_AGAIN = 3.0
"""Seconds between two faults of a kind that is over at once."""


def check(fault: str) -> str:
    """Return the fault if the simulator has it; ValueError with those that it has if not."""
    parse(fault)
    return fault


def start(addresses: Sequence[Address], fault: str | None) -> int:
    """Exercise a simulated cluster until asked to stop, and serve what is found; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="khealth-demo-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        options = app.Options(configuration(), "kubeconfig", kubeconfig, listen=tuple(addresses))
        return app.start(_exercise, options, kubeconfig, fault)


async def _exercise(options: app.Options, kubeconfig: Path, fault: str | None, *, process: app.Process) -> int:
    ended: int | app.CannotStart
    async with Simulator(SimulatorSettings()) as simulator, asyncio.TaskGroup() as group:
        await asyncio.to_thread(kubeconfig.write_text, simulator.kubeconfig(), encoding="utf-8")
        breaking = group.create_task(_break(simulator, fault))
        try:
            ended = await app.run(options, process=process, announce=partial(_announce, fault))
        except app.CannotStart as error:  # to be raised as itself, not in a group
            ended = error
        breaking.cancel()
    if isinstance(ended, app.CannotStart):
        raise ended
    return ended


def _announce(fault: str | None, addresses: tuple[Address, ...]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in told(addresses[0], fault))
    sys.stdout.flush()


async def _break(simulator: Simulator, fault: str | None) -> None:
    """Order a fault; one that is over at once, again and again: there may be nothing yet for it to hit."""
    while fault:
        simulator.begin(fault)
        if parse(fault)[0] not in MOMENTARY:
            return
        await asyncio.sleep(_AGAIN)


def configuration() -> Config:
    """Return the defaults at a pace that shows a stranger something at once."""
    config = load(None)
    routines = (
        replace(
            routine,
            settings=routine.settings.model_copy(
                update={key: value for key, value in _PACE.items() if key in type(routine.settings).model_fields}
            ),
        )
        for routine in config.routines
    )
    return replace(config, routines=tuple(routines))


def told(address: Address, fault: str | None) -> Iterator[str]:
    """Yield what to open, and with a fault what will be seen, in lines for people."""
    host = "127.0.0.1" if address.host in {"", "::", "0.0.0.0"} else address.host  # noqa: S104 - only to be told
    url = f"http://{Address(host, address.port)}"
    yield "khealth exercises a simulated cluster inside this process; no real one is touched. Open"
    yield f"  {url}/         the status page"
    yield f"  {url}/metrics  what Prometheus scrapes"
    yield f"  {url}/status   the same state as JSON, and {url}/health in one line"
    yield "and stop it with Ctrl-C."
    if fault:
        yield f"Broken on order: {FAULTS[parse(fault)[0]]}."
        yield f"Within half a minute {url}/health says what khealth makes of that, and the status page why."
