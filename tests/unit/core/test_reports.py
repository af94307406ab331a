"""Reports that attempts await."""

import random
import uuid

import pytest
from virtual_time import BEGINNING, EPOCH, virtual, virtual_clock

from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.reports import Reports
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

URL = "http://10.0.0.1:8090/check"
DEADLINE = BEGINNING + 30.75


def reports(url: str = URL) -> Reports:
    """Return a register; pods reach it if there is a URL."""
    made = Reports(virtual_clock(), random.Random(1))
    if url:
        made.served(url)
    return made


@virtual
async def test_a_pod_is_told_where_to_report_until_when_and_by_which_identifier() -> None:
    """The deadline is in whole Unix seconds, and not later than the attempt's."""
    expected = await reports().expect(DEADLINE, Signal())
    told = {"KH_REPORTING_URL": URL, "KH_RUN_UUID": expected.run, "KH_CHECK_RUN_DEADLINE": str(int(EPOCH) + 30)}
    assert told == expected.environment
    assert 4 == uuid.UUID(expected.run).version


@virtual
async def test_every_attempt_has_an_identifier_of_its_own() -> None:
    """Nobody can tell one from the others."""
    made = reports()
    assert 100 == len({(await made.expect(DEADLINE, Signal())).run for _ in range(100)})


@virtual
async def test_a_report_wakes_the_attempt() -> None:
    """It has the errors, and the time of its arrival."""
    made, changed = reports(), Signal()
    expected = await made.expect(DEADLINE, changed)
    found = made.find(expected.run)
    assert found is expected
    found.take(["no route"])
    assert await changed.until(lambda: expected.report is not None)
    assert expected.report
    assert (["no route"], BEGINNING, False) == ([*expected.report.errors], expected.report.at, expected.report.ok)


@virtual
async def test_the_identifier_works_once() -> None:
    """After the report, nobody finds it."""
    made = reports()
    expected = await made.expect(DEADLINE, Signal())
    expected.take([])
    assert made.find(expected.run) is None


@virtual
async def test_what_is_forgotten_takes_no_room() -> None:
    """However many attempts there were."""
    made = reports()
    for _ in range(50):
        expected = await made.expect(DEADLINE, Signal())
        made.forget(expected)
        assert made.find(expected.run) is None
    assert 0 == len(made)


@pytest.mark.parametrize("trouble", ["cannot listen on :8090: address already in use", ""], ids=["trouble", "nothing"])
@virtual
async def test_without_anybody_who_listens_no_pod_is_asked(trouble: str) -> None:
    """It is khealth's own fault."""
    made = reports("")
    made.unserved(trouble)
    with pytest.raises(Failed, match="no pod can report: ") as raised:
        await made.expect(DEADLINE, Signal())
    assert (Reason.INTERNAL_ERROR, True) == (raised.value.reason, (trouble or "yet") in raised.value.note)
