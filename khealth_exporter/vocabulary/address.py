"""An address that khealth listens on."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Self

_FORM = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<host>[0-9A-Za-z._-]*)):(?P<port>[0-9]{1,5})")
_HIGHEST_PORT = 65535


class CannotListen(Exception):  # noqa: N818 - it reads as what happened
    """khealth cannot listen on an address; the text is one sentence for an administrator."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port. An empty host means all interfaces; port 0 means any free port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `:8080`, `127.0.0.1:9000`, `name:9000`, or `[::]:8080`; ValueError on anything else."""
        match = _FORM.fullmatch(text)
        if match is None or int(match["port"]) > _HIGHEST_PORT:
            raise ValueError(f"{text!r} is not an address: write :8080, 127.0.0.1:8080 or [::]:8080")
        if match["ipv6"]:
            try:
                IPv6Address(match["ipv6"])
            except ValueError as error:
                raise ValueError(f"{text!r} is not an address: {error}") from error
        return cls(match["ipv6"] or match["host"] or "", int(match["port"]))

    def __str__(self) -> str:
        """Return the address as it is written on the command line."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
