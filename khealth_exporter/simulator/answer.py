"""The answer to one request."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete answer."""

    code: int
    body: bytes
    kind: str = "application/json"
    """The content type."""
    headers: dict[str, str] = field(default_factory=dict)
