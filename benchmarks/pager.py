"""The shipped routes: a real Alertmanager, and somebody who is woken or gets a ticket."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from benchmarks.faster import faster
from benchmarks.harness import ROOT, free_port


class Told:
    """The names of the alerts that notifications were about, by severity."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, set[str]] = {}

    def take(self, notification: Mapping[str, Any]) -> None:
        """Keep the alerts of a notification that fire."""
        with self._lock:
            for alert in notification["alerts"]:
                if alert["status"] == "firing":
                    self._names.setdefault(alert["labels"]["severity"], set()).add(alert["labels"]["alertname"])

    def of(self, severity: str) -> frozenset[str]:
        """Return the names of the alerts of a severity."""
        with self._lock:
            return frozenset(self._names.get(severity, ()))


def addressed(routes: Mapping[str, Any], url: str) -> Mapping[str, Any]:
    """Return Alertmanager's configuration with another URL in every webhook."""
    receivers = [
        {**one, "webhook_configs": [{**hook, "url": url} for hook in one["webhook_configs"]]}
        if "webhook_configs" in one
        else one
        for one in routes["receivers"]
    ]
    return {**routes, "receivers": receivers}


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a program with the block."""
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def found(name: str) -> str:
    """Return a program's path, or end with what is missing."""
    return shutil.which(name) or sys.exit(f"no {name} on the PATH: prometheus.io/download")


@contextmanager
def routed(folder: Path, factor: float) -> Iterator[tuple[str, Told]]:
    """Run an Alertmanager with the shipped routes, so much faster, until the block ends; yield HOST:PORT."""
    with listening() as (url, told):
        shipped = yaml.safe_load((ROOT / "alerts" / "alertmanager.yaml").read_text(encoding="utf-8"))
        file, address = folder / "alertmanager.yaml", f"127.0.0.1:{free_port()}"
        file.write_text(yaml.safe_dump(faster(addressed(shipped, url), factor)), encoding="utf-8")
        words = (f"--config.file={file}", f"--storage.path={folder}/nflog", f"--web.listen-address={address}")
        with (folder / "alertmanager.log").open("wb") as log:
            command = [found("alertmanager"), *words, "--cluster.listen-address="]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        with ended(process):
            yield address, told


@contextmanager
def listening() -> Iterator[tuple[str, Told]]:
    """Take notifications until the block ends; yield the URL."""
    told = Told()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
