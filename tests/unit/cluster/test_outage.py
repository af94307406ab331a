"""How long clients of an API server may be away after an outage."""

import math
from dataclasses import replace

import pytest

from khealth_exporter.cluster.client.outage import Outage
from khealth_exporter.cluster.client.request import Call
from khealth_exporter.cluster.errors import Refusal, no_answer
from khealth_exporter.vocabulary.reason import Reason

CALL = Call.of("https://a.example.com", "get", "pods", "/api/v1/pods")
AWAY = no_answer(ConnectionRefusedError("refused"))


def after(*failed: tuple[float, float]) -> Outage:
    """Return what is known after requests that were sent and given up at these times."""
    outage = Outage()
    for sent, now in failed:
        outage.take(CALL, AWAY, sent, now)
    return outage


def test_without_an_outage_nobody_is_excused() -> None:
    """Khealth has just begun, perhaps."""
    assert -math.inf == Outage().over


@pytest.mark.parametrize(
    ("failed", "over"),
    [
        ([(100.0, 100.5)], -math.inf),
        ([(100.0, 105.0)], 125.0),
        ([(100.0, 105.0), (110.0, 115.0)], 155.0),
        ([(100.0, 200.0)], 270.0),
    ],
    ids=["one moment", "twice as long", "several requests", "at most a minute"],
)
def test_clients_wait_twice_as_long_as_the_outage_took(failed: list[tuple[float, float]], over: float) -> None:
    """They double their pauses, up to a limit."""
    assert over == after(*failed).over


@pytest.mark.parametrize(
    "outcome",
    [object(), Refusal(Reason.FORBIDDEN, "no", code=403), Refusal(Reason.WEBHOOK_FAILED, "hook", code=500)],
    ids=["answered", "refused", "webhook"],
)
def test_an_api_server_that_answers_is_there(outcome: object) -> None:
    """Whatever it says."""
    outage = Outage()
    outage.take(CALL, outcome, 100.0, 105.0)
    assert -math.inf == outage.over


def test_one_of_several_api_servers_may_be_away() -> None:
    """The others serve its clients."""
    outage = Outage()
    outage.take(replace(CALL, server_name="kubernetes"), AWAY, 100.0, 105.0)
    assert -math.inf == outage.over


def test_an_answer_ends_an_outage() -> None:
    """One request in so many that is lost, as behind a load balancer with a dead server, excuses nobody."""
    outage = after((100.0, 105.0))
    for at in range(120, 600, 20):
        outage.take(CALL, object(), at, at + 0.01)
        outage.take(CALL, AWAY, at + 1.0, at + 1.01)
    assert 125.0 == outage.over


def test_an_outage_begins_after_the_last_answer() -> None:
    """A request that hangs beside others says nothing of the time in which they were answered."""
    outage = Outage()
    outage.take(CALL, object(), 108.0, 109.0)
    outage.take(CALL, AWAY, 100.0, 112.0)
    assert 128.0 == outage.over


def test_an_outage_that_a_hanging_request_began_lasts_from_the_last_answer() -> None:
    """The requests that fail after it belong to the same outage."""
    outage = Outage()
    outage.take(CALL, object(), 108.0, 109.0)
    outage.take(CALL, AWAY, 100.0, 110.0)
    outage.take(CALL, AWAY, 113.0, 114.0)
    assert 134.0 == outage.over


def test_a_request_that_had_no_time_says_nothing() -> None:
    """The deadline left it less."""
    outage = after((100.0, 100.5))
    outage.take(CALL, no_answer(TimeoutError()), 110.0, 110.5)
    outage.take(CALL, no_answer(TimeoutError()), 112.9, 113.0)
    assert -math.inf == outage.over


@pytest.mark.parametrize("resource", ["pods/proxy", "pods/log"])
def test_what_a_pod_or_a_kubelet_does_not_answer_is_no_outage(resource: str) -> None:
    """The API server relays it."""
    outage = Outage()
    outage.take(replace(CALL, resource=resource), AWAY, 100.0, 105.0)
    assert -math.inf == outage.over
