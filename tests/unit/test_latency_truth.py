"""What the benchmark of round trips counts."""

import struct

import pytest

from benchmarks.latency_truth import Delayed, Lossy, binomial, goals
from benchmarks.slow_path import _beginning

SYN, ACK = 2, 16


def packet(protocol: int, content: bytes) -> bytes:
    return struct.pack("!BBHHHBBH8x", 0x45, 0, 0, 0, 0, 64, protocol, 0) + content


def segment(flags: int) -> bytes:
    return packet(6, struct.pack("!HHIIBB6x", 40000, 8079, 7, 0, 0x50, flags))


@pytest.mark.parametrize(
    ("content", "protocol"),
    [(segment(SYN), "tcp"), (segment(SYN | ACK), ""), (segment(ACK), ""), (packet(17, b"x" * 20), "udp"), (packet(1, b"x" * 20), ""), (b"\x60" + bytes(60), "")],
    ids=["syn", "syn-ack", "ack", "udp", "icmp", "ipv6"],
)  # fmt: skip
def test_only_a_packet_that_begins_a_round_trip_may_be_lost(content: bytes, protocol: str) -> None:
    assert protocol == _beginning(content)[0]


def test_a_segment_that_is_sent_again_is_known() -> None:
    assert _beginning(segment(SYN)) == _beginning(segment(SYN))


@pytest.mark.parametrize(
    ("count", "share", "interval"), [(1000, 0.05, (33, 69)), (1000, 0.01, (3, 19)), (10, 0, (0, 0))]
)
def test_the_binomial_interval_has_nearly_all_cases(count: int, share: float, interval: tuple[int, int]) -> None:
    assert interval == binomial(count, share, 0.99)


def test_the_truth_of_http_is_four_ways() -> None:
    found = Delayed(delay=0.001, held=0.0011, protocol="http", median=0.0045, most=1, uncertainty=0)
    assert (0.5, 0.1) == (round(found.error * 1000, 6), round(found.excess * 1000, 6))


def test_a_goal_is_missed_by_a_slow_median_and_by_invented_losses() -> None:
    late = Delayed(delay=0.001, held=0.001, protocol="tcp", median=0.0024, most=1, uncertainty=0)
    lossy = Lossy(loss=0.01, protocol="udp", sent=1000, reported=30, lost=10)
    assert [False, False, False] == [goal.met for goal in goals([late], [lossy])]
