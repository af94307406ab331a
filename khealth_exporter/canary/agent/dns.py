"""The question `dns`: what servers answer to names, and how fast."""

import time
from collections.abc import Iterator

from khealth_exporter.canary.agent import dns_message
from khealth_exporter.canary.agent.loop import Waiting
from khealth_exporter.canary.agent.loop import run as run_side_by_side
from khealth_exporter.canary.agent.question import BadQuestion, Document, Question
from khealth_exporter.canary.agent.resolver import PORT, Answer, Asking, Settings, resolve, settings

_MOST_QUESTIONS = 64
_AT_A_TIME = 16
_MOST_TRIES = 10


def run(question: Question, until: float) -> Document:
    """Return the answers that came by a monotonic time; raise BadQuestion."""
    own = settings()
    asked = [_Asked(asked) for asked in question.several("questions", _MOST_QUESTIONS)]
    run_side_by_side(_all(asked, own), until, _AT_A_TIME)
    return {
        "answers": [one.document() for one in asked],
        "search": own.search,
        "nameservers": own.nameservers,
    }


class _Asked:
    def __init__(self, question: Question) -> None:
        name = question.text("name")
        try:
            dns_message.wire(name)
        except dns_message.Malformed as malformed:
            raise BadQuestion(str(malformed)) from malformed
        timeout = question.number("timeout", 2.0, 0.001, 30)
        self._asking = asking = Asking(name, question.choice("type", "A", *dns_message.TYPES), timeout)
        server = question.address("server", "")
        asking.servers = [server] if server else []
        asking.port = question.integer("port", PORT, 1, 65_535)
        asking.transport = question.choice("transport", "udp", "udp", "tcp")
        asking.tries = question.integer("tries", 1, 1, _MOST_TRIES)
        self._began = 0.0
        self._answer: Answer | None = None

    async def ask(self, own: Settings) -> None:
        self._began = time.monotonic()
        self._answer = await resolve(self._asking, own)

    def document(self) -> Document:
        answer = self._answer
        if answer is None:
            answer = Answer()
            answer.seconds = time.monotonic() - self._began if self._began else 0.0
        return {
            "outcome": answer.outcome,
            "addresses": answer.addresses,
            "server": answer.server,
            "seconds": round(answer.seconds, 9),
            "uncertainty": round(answer.uncertainty, 9),
            "error": answer.error,
        }


def _all(asked: list[_Asked], own: Settings) -> Iterator[Waiting]:
    for one in asked:
        yield one.ask(own)
