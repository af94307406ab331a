"""Runs agents as real processes on addresses of the loopback network, and asks them as khealth does."""

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canary_process import ROOT

SECRET = b"of a test"
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An agent's answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Document:
        """The answer's JSON."""
        document: Document = json.loads(self.body)
        return document


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks the agent that answers at `address` and `port`, and whose secret is in a file."""

    name: str
    address: str
    port: int
    secret_file: Path

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
        """Send a request on a connection of its own."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=70)
        with contextlib.closing(connection):
            connection.request(method, path, body or None, headers or {})
            with connection.getresponse() as response:
                return Reply(response.status, dict(response.getheaders()), response.read())

    @property
    def boot(self) -> str:
        """The name of this process of the agent."""
        return str(self.request("GET", "/ready").document["boot"])

    def proof(self, path: str, body: bytes, *, nonce: str = "", boot: str = "") -> dict[str, str]:
        """Return the headers that prove a question to be khealth's."""
        nonce, boot = nonce or os.urandom(16).hex(), boot or self.boot
        mac = self.mac("POST", path, boot, nonce, hashlib.sha256(body).hexdigest())
        return {"Content-Type": "application/json", "Khealth-Auth": f"v1;boot={boot};nonce={nonce};mac={mac}"}

    def mac(self, *words: str) -> str:
        """Return the code of words with the secret."""
        return hmac.new(self.secret_file.read_bytes().strip(), "\n".join(("v1", *words)).encode(), "sha256").hexdigest()

    def post(self, task: str, question: Document, **proof: str) -> Reply:
        """Put a question with proof."""
        body, path = json.dumps(question).encode(), f"/v1/{task}"
        return self.request("POST", path, body, self.proof(path, body, **proof))

    def ask(self, task: str, question: Document) -> Document:
        """Put a question, and return the document; the status must be 200."""
        reply = self.post(task, question)
        assert 200 == reply.status, reply
        return reply.document


@dataclass(frozen=True, slots=True)
class RunningAgent(Asker):
    """An agent that is a process."""

    process: subprocess.Popen[str]

    def resident(self, field: str = "VmHWM") -> int:
        """Return the bytes of memory of the process: the most so far, or now with `VmRSS`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{field}:")[1].split()[0]) * 1024

    def cpu(self) -> float:
        """Return the seconds of CPU that the process has used."""
        times = Path(f"/proc/{self.process.pid}/schedstat").read_text().split()
        return int(times[0]) / 1e9


@contextlib.contextmanager
def agent(folder: Path, address: str = "127.0.0.1", *words: object, **environment: str) -> Iterator[RunningAgent]:
    """Run an agent without third-party packages, as a pod does, on any free port unless the words say which."""
    secret_file = folder / "secret"
    if not secret_file.exists():
        secret_file.write_bytes(SECRET)
    name = f"agent-{address}"
    flags = ["--address", address, "--secret-file", secret_file, "--name", name, "--port", 0, *words]
    command = [sys.executable, "-S", "-m", "khealth_exporter.canary", "agent", *map(str, flags)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, text=True, env=os.environ | environment) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rsplit(maxsplit=1)[-1])
            yield RunningAgent(name, address, port, secret_file, process)
        finally:
            process.kill()
