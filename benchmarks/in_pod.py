"""khealth in a pod, installed from the single file that is shipped."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import ROOT, kubectl, parsed
from benchmarks.process import Use

NAMESPACE = "khealth"
SHIPPED = "khealth:0.1.0"
"""The image in the single file."""
_READY = "180s"


@contextmanager
def installed(image: str, folder: Path) -> Iterator[Callable[[], Use]]:
    """Install khealth with this image until the block ends; yield what tells what its process has used so far."""
    if kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"):
        sys.exit(f"namespace {NAMESPACE} exists: uninstall khealth first")
    shipped = (ROOT / "deploy" / "khealth.yaml").read_text(encoding="utf-8")
    file = folder / "khealth.yaml"
    file.write_text(shipped.replace(SHIPPED, image), encoding="utf-8")
    try:
        kubectl("apply", "-f", str(file))
        kubectl("rollout", "status", "deployment/khealth", "-n", NAMESPACE, f"--timeout={_READY}")
        yield _used
    finally:
        kubectl("delete", "-f", str(file), "--ignore-not-found", check=False)


def _used() -> Use:
    """Return what khealth's own metrics say; they know no highest mark of the memory."""
    proxied = f"/api/v1/namespaces/{NAMESPACE}/services/khealth:8080/proxy/metrics"
    found = {sample.name: float(sample.value) for sample in parsed(kubectl("get", "--raw", proxied))}
    resident = found["process_resident_memory_bytes"] / (1 << 20)
    return Use(found["process_cpu_seconds_total"], resident, resident)
