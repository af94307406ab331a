"""The parts of an EndpointSlice: which servers are behind a Service."""

from msgspec import Struct


class EndpointConditions(Struct, frozen=True, rename="camel"):
    """Whether an endpoint takes traffic, or its pod ends; null counts as ready, as the API says."""

    ready: bool = True
    terminating: bool = False


class TargetReference(Struct, frozen=True, rename="camel"):
    """The object that is behind an endpoint."""

    name: str = ""


class Endpoint(Struct, frozen=True, rename="camel"):
    """The addresses of one server, its node, and its pod."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    node_name: str = ""
    target_ref: TargetReference = TargetReference()


class EndpointPort(Struct, frozen=True, rename="camel"):
    """A port of the servers of an EndpointSlice."""

    name: str = ""
    port: int = 0
