"""Node registration: the first nodes are Ready at once, nodes that are added later become Ready."""

from khealth_exporter.simulator.controllers import node_object
from khealth_exporter.simulator.documents import Document
from khealth_exporter.simulator.resources import NODES
from khealth_exporter.simulator.world import World

_PER_SUBNET = 250


class Registration:
    """Creates Node objects, each with its own address."""

    def __init__(self, world: World) -> None:
        """Register nodes in this cluster."""
        self._world = world
        self._addresses = 0

    def populate(self) -> None:
        """Register the nodes that the settings ask for."""
        settings = self._world.settings
        for name in settings.node_names:
            self._register(name, fake=False, ready=True)
        for number in range(1, settings.fake_nodes + 1):
            self._register(f"fake-{number}", fake=True, ready=True)

    def add(self, name: str) -> Document:
        """Register one more node and return it; its kubelet reports Ready after the delay `join`.

        Raises `ApiError` (409, 422).
        """
        return self._register(name, fake=False, ready=False)

    def _register(self, name: str, *, fake: bool, ready: bool) -> Document:
        number = self._addresses + 1
        address = f"10.0.{number // _PER_SUBNET}.{number % _PER_SUBNET + 1}"
        now = self._world.now()
        node = node_object.build(name, address, self._world.settings, now, fake=fake)
        created = self._world.registry.create(NODES, "", node if ready else node_object.joining(node, now))
        self._addresses = number
        return created
