"""What a canary that computes must come to, and how much CPU it should have had. Pure: no I/O, no clock."""

from dataclasses import dataclass

from khealth_exporter.canaries.one_shot import Document


def fibonacci(n: int) -> int:
    """Return a Fibonacci number by fast doubling: another way than the canary's, so that a mistake shows."""
    number, following = 0, 1
    for bit in f"{n:b}":
        number, following = number * (2 * following - number), number * number + following * following
        if bit == "1":
            number, following = following, number + following
    return number


@dataclass(frozen=True, slots=True)
class CpuTime:
    """What a canary says of its computation, in seconds; None where its kernel does not tell."""

    wall: float | None
    used: float | None
    throttled: float | None
    """Time for which its CPU limit stopped the container."""
    stolen: float | None
    """Time that the hypervisor took from all CPUs of the node together."""
    waiting: float | None
    """Time in which it was ready to run and had no CPU."""

    @classmethod
    def of(cls, document: Document) -> "CpuTime":
        """Read it from a document's facts; what is no number, or less than none, is not told."""

        def seconds(name: str) -> float | None:
            fact = document.facts.get(f"{name}_seconds")
            if not isinstance(fact, int | float) or isinstance(fact, bool):
                return None
            return float(fact) if fact >= 0 else None

        return cls(seconds("wall"), seconds("cpu"), seconds("throttled"), seconds("steal"), seconds("waiting"))

    def starved(self, factor: float, lost: float) -> str:
        """Return that wall time exceeds CPU time by this factor and by so many seconds, and why; empty if not."""
        if self.wall is None or self.used is None:
            return ""
        if self.wall - self.used <= lost or self.wall <= factor * self.used:
            return ""
        parts = (("throttled", self.throttled), ("stolen", self.stolen), ("waiting for a CPU", self.waiting))
        told = ", ".join(f"{seconds:.2f} s {name}" for name, seconds in parts if seconds is not None)
        return f"{self.used:.2f} s of CPU took {self.wall:.2f} s: {told or 'the kernel does not say why'}"
