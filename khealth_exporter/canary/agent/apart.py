"""A question that a process of its own answers: what it needs for TLS does not stay in the agent's memory."""

import contextlib
import errno
import json
import os
import select
import signal
import sys
import time

from khealth_exporter.canary.agent import egress
from khealth_exporter.canary.agent.question import Document, Question

_GRACE_SECONDS = 1.0
"""How long after its time the process may take to say what it has."""
_CHUNK = 65_536


def run(question: Question, until: float) -> Document:
    """Return what came of each target by a monotonic time; raise BadQuestion, and OSError if the process fails."""
    targets = egress.targets(question)
    told = _told(json.dumps({**question.fields, "until": until}).encode(), until + _GRACE_SECONDS)
    if told:
        document: Document = json.loads(told)
        return document
    if time.monotonic() < until:
        raise OSError(errno.ECHILD, "the process ended without an answer")
    return {"results": [target.result() for target in targets]}


def _told(question: bytes, until: float) -> bytes:
    """Start a process, give it the question, and return what it says; nothing if it is late, or fails."""
    question_end, question_begin = os.pipe()
    answer_end, answer_begin = os.pipe()
    try:
        process = os.posix_spawn(
            sys.executable,
            [sys.executable, *(["-S"] if sys.flags.no_site else []), "-m", egress.__name__],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, question_end, 0), (os.POSIX_SPAWN_DUP2, answer_begin, 1)],
            setsigmask=(),  # The agent's own blocks what ends it.
        )
    except OSError:
        os.close(question_begin)
        os.close(answer_end)
        raise
    finally:
        os.close(question_end)
        os.close(answer_begin)
    try:
        with contextlib.suppress(BrokenPipeError), open(question_begin, "wb", buffering=0) as pipe:
            pipe.write(question)  # The process reads all of it first.
        return _read(answer_end, until)
    finally:
        os.close(answer_end)
        os.kill(process, signal.SIGKILL)  # It has ended, or is late.
        os.waitpid(process, 0)


def _read(pipe: int, until: float) -> bytes:
    poll, told = select.poll(), b""
    poll.register(pipe, select.POLLIN)
    while poll.poll(max(0.0, until - time.monotonic()) * 1000):
        more = os.read(pipe, _CHUNK)
        if not more:
            return told
        told += more
    return b""
