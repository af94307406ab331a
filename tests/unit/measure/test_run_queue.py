"""How long the kernel let a thread wait."""

import os
import threading

import pytest

from khealth_exporter.measure.run_queue import RunQueue


def test_the_kernels_account_of_waiting_only_grows() -> None:
    """Seconds that the thread has waited for a processor, since it began."""
    queue = RunQueue()
    first, second = queue.waited(), queue.waited()
    queue.close()
    assert 0.0 <= first <= second


def test_without_the_kernels_account_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no such file, the wait is unknown and taken for nothing."""

    def missing(*_: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(os, "open", missing)
    assert 0.0 == RunQueue().waited()


def test_a_closed_account_says_nothing_new() -> None:
    """After `close`, which looks once more, no file is held, and closing again does no harm."""
    queue = RunQueue()
    queue.close()
    known = queue.waited()
    queue.close()
    assert known == queue.waited()


def test_another_thread_may_ask() -> None:
    """Even while the thread ends, and after: what was known last stands."""
    queues: list[RunQueue] = []
    thread = threading.Thread(target=lambda: queues.append(RunQueue()))
    thread.start()
    thread.join()
    first = queues[0].waited()
    queues[0].close()
    last = queues[0].waited()
    assert 0.0 <= first <= last == queues[0].waited()
