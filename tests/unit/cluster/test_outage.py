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
        ([(100.0, 100.0)], 110.0),
        ([(100.0, 105.0)], 125.0),
        ([(100.0, 105.0), (110.0, 115.0)], 155.0),
        ([(100.0, 200.0)], 270.0),
        ([(100.0, 105.0), (200.0, 201.0)], 213.0),
    ],
    ids=["one moment", "twice as long", "several requests", "at most a minute", "another outage"],
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
