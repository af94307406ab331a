"""Where the web server listens."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Self

_FORM = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[0-9A-Za-z._-]*)):(?P<port>[0-9]{1,5})")
_HIGHEST_PORT = 65535


class CannotListen(Exception):  # noqa: N818 - it reads as what happened
    """An address cannot be listened on; its text is a sentence for an administrator."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; an empty host means every address of the machine, port 0 one that the system chooses."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `:8080`, `127.0.0.1:9000`, `name:9000` or `[::]:8080` stands for; ValueError on anything else."""
        match = _FORM.fullmatch(text)
        if match is None or int(match["port"]) > _HIGHEST_PORT:
            raise ValueError(f"{text!r} is not an address: write :8080, 127.0.0.1:8080 or [::]:8080")
        if match["six"]:
            try:
                IPv6Address(match["six"])
            except ValueError as error:
                raise ValueError(f"{text!r} is not an address: {error}") from error
        return cls(match["six"] or match["host"] or "", int(match["port"]))

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
