"""The parts of a cluster that can be to blame."""

from enum import StrEnum


class Component(StrEnum):
    """A part of the cluster that can be to blame."""

    API_SERVER = "api_server"
    CONTROLLER_MANAGER = "controller_manager"
    SCHEDULER = "scheduler"
    NODE = "node"
    REGISTRY = "registry"
    DNS = "dns"
    NETWORK = "network"
    STORAGE = "storage"
    WORKLOAD = "workload"
    KHEALTH = "khealth"
