"""Canaries: pods whose container the kubelet runs as a process of this machine."""

import asyncio
import contextlib
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from khealth_exporter.simulator import programs
from khealth_exporter.simulator.controllers import launches
from khealth_exporter.simulator.controllers.mounts import Mounts
from khealth_exporter.simulator.controllers.node_agent import NodeAgent
from khealth_exporter.simulator.controllers.pod_status import Ending
from khealth_exporter.simulator.documents import Document, namespace_of, node_of, spec_of, status_of, uid_of
from khealth_exporter.simulator.network.cluster_network import ClusterNetwork
from khealth_exporter.simulator.pod_volumes import Missing
from khealth_exporter.simulator.programs import Launch, Program, Surroundings
from khealth_exporter.simulator.world import World

_LONGEST_MESSAGE: Final = 4096
"""Bytes of a termination message that the kubelet reads."""
_LONGEST_TAIL: Final = 2048
"""Bytes of the log that are used in place of a termination message."""
_BY_SIGNAL: Final = 128
"""A shell's exit code of a process that a signal has ended, less the signal."""
_NOT_STARTED: Final = 128
_RESOLVER_FILE: Final = "/etc/resolv.conf"
_FROZEN: Final = "agent-frozen"


@dataclass(slots=True)
class _Canary:
    """A canary from its request on; `started` and `ended` are always resolved in this order."""

    pod: Document
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    paths: dict[str, Path] = field(default_factory=dict)
    """What stands for paths of its container on this machine."""
    program: Program | None = None
    ending: Ending = field(default_factory=Ending)
    task: asyncio.Task[None] | None = None


class Canaries(NodeAgent):
    """Runs the containers of canaries: agents at once, the others a few at a time."""

    def __init__(self, world: World, mounts: Mounts, network: ClusterNetwork) -> None:
        """Give the canaries these volumes, and agents this network."""
        super().__init__(world)
        self._mounts, self._network = mounts, network
        world.faults.react(self._react)
        self._room = asyncio.Semaphore(world.settings.canaries)
        self._known: dict[str, _Canary] = {}

    async def start(self, pod: Document) -> None:
        """Start the pod's process and return; while too many others run, wait."""
        canary = self._known[uid_of(pod)] = _Canary(pod)
        canary.task = self.spawn(self._attend, canary)
        await canary.started.wait()

    async def end(self, pod: Document) -> Ending:
        """Return how the pod's process has ended, when it has."""
        canary = self._known[uid_of(pod)]
        await canary.ended.wait()
        return canary.ending

    async def stop(self, pod: Document, grace: float) -> Ending:
        """End the pod's process with SIGTERM, and after the grace period in seconds with SIGKILL."""
        canary = self._known.get(uid_of(pod))
        if canary is None or canary.task is None:
            return Ending()
        if canary.program is None:
            canary.task.cancel()
            return Ending()
        _send(canary.program, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.world.scaled(grace)):
                await canary.ended.wait()
        _send(canary.program, signal.SIGKILL)
        await canary.ended.wait()
        return canary.ending

    def forget(self, pod: Document) -> None:
        """Kill the pod's process if there is one, and remove its directories."""
        canary = self._known.pop(uid_of(pod), None)
        if canary is not None and canary.task is not None:
            canary.task.cancel()
        self._network.fabric.detach(pod)
        self._mounts.unmount(pod)

    def _react(self, fault: str, node: str, began: bool) -> None:
        for canary in self._known.values() if fault == _FROZEN else ():
            if node in {"", node_of(canary.pod)}:
                self._freeze(canary, frozen=began)

    def _freeze(self, canary: _Canary, *, frozen: bool) -> None:
        if launches.is_agent(canary.pod) and canary.program is not None:
            _send(canary.program, signal.SIGSTOP if frozen else signal.SIGCONT)

    async def _attend(self, canary: _Canary) -> None:
        async with contextlib.nullcontext() if launches.is_agent(canary.pod) else self._room:
            try:
                canary.program = await self.world.settings.runner(self._launch(canary))
            except (OSError, Missing) as error:
                canary.ending = Ending(_NOT_STARTED, str(error))
            else:
                if self.world.faults.active(_FROZEN, node_of(canary.pod)):
                    self._freeze(canary, frozen=True)
                canary.started.set()
                canary.ending = await self._follow(canary, canary.program)
            canary.started.set()
            canary.ended.set()

    async def _follow(self, canary: _Canary, program: Program) -> Ending:
        """Return how the process has ended; if this is canceled, kill it."""
        try:
            code = await program.wait()
        finally:
            _send(program, signal.SIGKILL)
            await program.wait()
        code = code if code >= 0 else _BY_SIGNAL - code
        return Ending(code, self._message(canary, code))

    def _launch(self, canary: _Canary) -> Launch:
        pod = canary.pod
        container = spec_of(pod)["containers"][0]
        folders = self._mounts.mount(pod)
        home = self._mounts.folder(pod)
        home.mkdir(parents=True, exist_ok=True)
        paths = {mount["mountPath"]: folders[mount["name"]] for mount in container.get("volumeMounts") or []}
        environment, arguments = launches.environment(pod), launches.command(container)[3:]
        around = launches.basics(pod)
        if launches.is_agent(pod):
            resolver = paths[_RESOLVER_FILE] = home / "resolv.conf"
            resolver.write_text(self._network.name_servers.resolver_file(namespace_of(pod)))
            around |= self._in_network(pod, home) | {"KHEALTH_RESOLV_CONF": str(resolver)}
        else:
            report = paths[container["terminationMessagePath"]] = home / "termination-log"
            report.write_bytes(b"")
            if not any(argument.partition("=")[0] == "--report" for argument in arguments):
                arguments = [*arguments, "--report", container["terminationMessagePath"]]
        canary.paths = paths
        given = [launches.expanded(argument, environment) for argument in arguments]
        real = tuple(launches.translated(argument, paths) for argument in given)
        there = {name: launches.translated(value, paths) for name, value in environment.items()}
        return Launch(programs.canary(real, self._surroundings(pod, folders)), around | there, home, home / "log")

    def _in_network(self, pod: Document, home: Path) -> dict[str, str]:
        """Return what tells the process of a pod its network."""
        path = self._network.fabric.attach(pod, home)
        return {"SIMULATED_NETWORK": str(path), "SIMULATED_ADDRESS": str(status_of(pod)["podIP"])}

    def _surroundings(self, pod: Document, folders: dict[str, Path]) -> Surroundings:
        active, node = self.world.faults.active, node_of(pod)
        empty = [volume["name"] for volume in spec_of(pod).get("volumes") or [] if "emptyDir" in volume]
        full = tuple(folders[name] for name in empty) if active("disk-full", node) else ()
        return Surroundings(full, active("slow-cpu", node), launches.is_agent(pod))

    def _message(self, canary: _Canary, code: int) -> str:
        """Return what the canary says, with the paths that it has in its container."""
        home, container = self._mounts.folder(canary.pod), spec_of(canary.pod)["containers"][0]
        message = _read(home / "termination-log")[:_LONGEST_MESSAGE]
        if not message and code and container["terminationMessagePolicy"] == "FallbackToLogsOnError":
            message = _read(home / "log")[-_LONGEST_TAIL:]
        text = message.decode(errors="replace")
        for path, real in canary.paths.items():
            text = text.replace(str(real), path)
        return text


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _send(program: Program, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        program.send_signal(number)
