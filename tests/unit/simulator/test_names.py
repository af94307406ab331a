"""The names of the simulated cluster, and the messages in which they are asked for."""

import struct
from typing import Any

import pytest
from unit.simulator.test_simulator_parts import new_registry

from khealth_exporter.simulator.network import dns, names
from khealth_exporter.simulator.network.dns import AAAA, SRV, A, Result
from khealth_exporter.simulator.registry import Registry
from khealth_exporter.simulator.resources import ENDPOINT_SLICES, SERVICES
from khealth_exporter.simulator.store import Store


def asked(name: str, kind: int = A, identity: int = 7) -> bytes:
    """Return a question."""
    return struct.pack("!6H", identity, 0x0100, 1, 0, 0, 0) + dns.encoded(name) + struct.pack("!2H", kind, 1)


def service(registry: Registry, name: str, **spec: Any) -> str:
    """Create a Service with one port, and return its address."""
    basics = {"selector": {"app": name}, "ports": [{"name": "web", "port": 80}]}
    made = registry.create(SERVICES, "n", {"metadata": {"name": name}, "spec": basics | spec})
    return str(made["spec"].get("clusterIP"))


@pytest.fixture
def store() -> Store:
    """Hold a Service with an address, a headless one with two endpoints of which one is ready, and an alias."""
    registry = new_registry()
    assert service(registry, "plain", clusterIP="127.64.0.20")
    service(registry, "headless", clusterIP="None")
    service(registry, "alias", type="ExternalName", externalName="example.com", ports=None)
    endpoints = [
        {"addresses": ["127.64.1.2"], "conditions": {"ready": True}, "hostname": "first"},
        {"addresses": ["127.64.1.3"], "conditions": {"ready": False}},
        {"addresses": ["127.64.2.2"], "conditions": {"ready": True}},
    ]
    about = {"name": "headless-x", "labels": {"kubernetes.io/service-name": "headless"}}
    registry.create(ENDPOINT_SLICES, "n", {"metadata": about, "addressType": "IPv4", "endpoints": endpoints})
    return registry.store


NOTHING: tuple[int, list[str]] = (dns.NO_SUCH_NAME, [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain.n.svc.cluster.local.", (0, ["127.64.0.20"])),
        ("PLAIN.n.svc.cluster.LOCAL.", (0, ["127.64.0.20"])),
        ("headless.n.svc.cluster.local.", (0, ["127.64.1.2", "127.64.2.2"])),
        ("first.headless.n.svc.cluster.local.", (0, ["127.64.1.2"])),
        ("127-64-2-2.headless.n.svc.cluster.local.", (0, ["127.64.2.2"])),
        ("example.com.", (0, ["192.0.2.80"])),
        ("n.svc.cluster.local.", (0, [])),
        ("svc.cluster.local.", (0, [])),
        ("cluster.local.", (0, [])),
        ("none.n.svc.cluster.local.", NOTHING),
        ("plain.other.svc.cluster.local.", NOTHING),
        ("pod.plain.n.svc.cluster.local.", NOTHING),
        ("127-64-1-3.headless.n.svc.cluster.local.", NOTHING),
        ("plain.n.", NOTHING),
        ("invalid.", NOTHING),
    ],
)
def test_names_are_those_of_services(store: Store, name: str, expected: tuple[int, list[str]]) -> None:
    """And of the ready endpoints of headless ones."""
    found = names.look_up(store, dns.parse(asked(name)))
    assert expected == (found.code, [".".join(map(str, data)) for _, data in found.records])


def test_name_without_an_address_of_the_family_exists(store: Store) -> None:
    """No error, and no record."""
    assert Result() == names.look_up(store, dns.parse(asked("plain.n.svc.cluster.local.", AAAA)))


def test_named_port_has_a_service_record(store: Store) -> None:
    """With its number and the Service's name."""
    [(kind, data)] = names.look_up(store, dns.parse(asked("_web._tcp.plain.n.svc.cluster.local.", SRV))).records
    assert (SRV, 80, dns.encoded("plain.n.svc.cluster.local.")) == (kind, int.from_bytes(data[4:6], "big"), data[6:])


def test_external_name_is_an_alias(store: Store) -> None:
    """Whatever type is asked for."""
    expected = ((dns.CNAME, dns.encoded("example.com.")),)
    assert expected == names.look_up(store, dns.parse(asked("alias.n.svc.cluster.local."))).records


def test_answer_repeats_identity_and_question() -> None:
    """And has its records."""
    question = dns.parse(asked("a.example."))
    answer = dns.build(question, Result(records=(dns.address("192.0.2.1"),), ttl=5))
    header = struct.unpack_from("!6H", answer)
    assert (7, 0, (1, 1, 0, 0)) == (header[0], header[1] & 0xF, header[2:])
    assert answer.endswith(question.raw + struct.pack("!3HIH", 0xC00C, A, 1, 5, 4) + bytes([192, 0, 2, 1]))


def test_answer_that_is_too_long_says_so() -> None:
    """The client asks again over TCP."""
    question = dns.parse(asked("a.example."))
    records = tuple(dns.address(f"192.0.2.{number}") for number in range(100))
    short = dns.build(question, Result(records=records))
    assert (True, 0) == (bool(short[2] & 0x02), struct.unpack_from("!H", short, 6)[0])
    assert 100 == struct.unpack_from("!H", dns.build(question, Result(records=records), longest=65535), 6)[0]


def test_nothing_comes_with_the_time_for_which_it_is_true() -> None:
    """In the authority section."""
    answer = dns.build(dns.parse(asked("a.example.")), Result(dns.NO_SUCH_NAME, ttl=5))
    assert (0, 1, struct.pack("!I", 5)) == (*struct.unpack_from("!2H", answer, 6), answer[-4:])


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"1234",
        asked("a.example.")[:-5],
        asked("a.example.")[:14],
        b"\0" * 12,
        asked("a.")[:12] + b"\x80" + b"a" * 9,
    ],
)
def test_what_is_no_question_is_refused(message: bytes) -> None:
    """Whatever is missing."""
    with pytest.raises(ValueError, match=r"."):
        dns.parse(message)
    assert dns.FORMAT_ERROR == dns.malformed(message)[3]
