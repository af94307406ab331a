"""When the garbage collector may be merely busy."""

from khealth_exporter.canaries.backlog import BUSY, Backlog

ASKED, LATER = 100.0, 130.0


def busy() -> Backlog:
    """Return what is known where the controller manager works, and nothing was collected."""
    backlog = Backlog()
    backlog.works(LATER)
    return backlog


def test_one_of_which_nothing_is_seen_is_not_excused() -> None:
    """The controller manager may be dead."""
    assert not Backlog().excuses(ASKED, LATER)


def test_a_controller_manager_that_worked_before_proves_nothing() -> None:
    """It may have died since."""
    backlog = Backlog()
    backlog.works(ASKED - 1.0)
    assert not backlog.excuses(ASKED, LATER)


def test_a_controller_manager_that_works_excuses_it() -> None:
    """It is a part of it."""
    assert busy().excuses(ASKED, LATER)


def test_it_is_busy_for_so_long_and_no_longer() -> None:
    """From when it was first waited for in vain."""
    backlog = busy()
    backlog.works(LATER + BUSY)
    assert [True, True, False] == [
        backlog.excuses(ASKED, LATER),
        backlog.excuses(ASKED + 60.0, LATER + BUSY - 1.0),
        backlog.excuses(ASKED + 120.0, LATER + BUSY),
    ]


def test_work_that_was_done_begins_the_time_anew() -> None:
    """It has caught up meanwhile."""
    backlog = busy()
    backlog.excuses(ASKED, LATER)
    backlog.collected(ASKED + 60.0)
    backlog.works(LATER + BUSY)
    assert backlog.excuses(ASKED + 120.0, LATER + BUSY)


def test_what_was_overtaken_is_not_waiting_for_its_turn() -> None:
    """What was asked for later is done: it is not busy, but broken for this one."""
    backlog = busy()
    backlog.collected(ASKED + 10.0)
    assert not backlog.excuses(ASKED, LATER)
