"""How many of khealth's own samples a busy machine spoils: the default configuration, beside programs that compute."""

import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Goal, conclude, parser, table
from benchmarks.harness import free_port, namespace, program, scraped
from benchmarks.load import Load

NAMESPACE = "bench-busy"
COMPUTE = "import sys, time; end = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"
QUALITIES = ("exact", "cold", "foreign", "degraded", "discarded")
SPOILED = QUALITIES[2:]
MEASUREMENT = {"watch_lag": "1h"}
"""The one setting that is not the default: what the API server is late with is not khealth's own doing."""


def counted(port: int) -> dict[str, Counter[str]]:
    """Return by routine how many samples of which quality its khealth has taken."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in scraped(f"http://127.0.0.1:{port}/metrics"):
        if sample.name == "khealth_samples_total":
            known = sample.labels
            found[f"{known['module']}/{known['routine']}"][known["quality"]] += int(sample.value)
    return found


def observe(programs: int, seconds: float, *, together: bool) -> dict[str, Counter[str]]:
    """Let khealth run for so long beside so many programs, and return what it has counted."""
    with ExitStack() as around:
        around.enter_context(namespace(NAMESPACE))
        file = Path(around.enter_context(tempfile.TemporaryDirectory())) / "config.yaml"
        file.write_text(json.dumps({"namespace": NAMESPACE, "measurement": MEASUREMENT}), encoding="utf-8")
        port = free_port()
        for _ in range(programs):
            around.enter_context(program("-c", COMPUTE, seconds + 60, apart=not together))
        command = ("-m", "khealth_exporter", "run", "--config", file, "--listen", f"127.0.0.1:{port}")
        around.enter_context(program(*command, apart=not together))
        time.sleep(seconds)
        return counted(port)


def main() -> int:
    """Take the figures."""
    arguments = parser(__doc__)
    arguments.set_defaults(seconds=600.0)
    arguments.add_argument("--programs", type=int, default=6, help="that compute meanwhile")
    told = "share the processors with khealth as one pod's programs do, not as those of other pods"
    arguments.add_argument("--together", action="store_true", help=told)
    given = arguments.parse_args()
    with Load() as load:
        found = observe(given.programs, given.seconds, together=given.together)
    table(
        "Samples by quality", ("routine", *QUALITIES), [[name, *(n[q] for q in QUALITIES)] for name, n in found.items()]
    )
    print(f"\nload average {load.figures()}")
    total = sum(counts.total() for counts in found.values())
    spoiled = sum(counts[quality] for counts in found.values() for quality in SPOILED)
    goals = [
        Goal("samples", total, 30, at_least=True),
        Goal("samples that khealth's own delay spoiled, to all", spoiled / total if total else float("nan"), 0.05),
    ]
    figures = {"load": load.figures(), "samples": {name: dict(counts) for name, counts in found.items()}}
    return conclude("busy", figures, goals, insist=given.insist)


if __name__ == "__main__":
    sys.exit(main())
