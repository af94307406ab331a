"""The command that breaks a cluster's programs and mends them, as CONTRIBUTING.md describes it."""

import fnmatch
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

WITHIN = 60.0
"""Seconds within which the command does what it is told."""


def wait_for(what: str, true: Callable[[], object], seconds: float) -> None:
    """Return when a condition holds; TimeoutError at the end of the bound."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.5)


@dataclass(frozen=True, slots=True)
class Kit:
    """The command."""

    command: Sequence[str]

    @classmethod
    def known(cls) -> "Kit":
        """Return the command that KHEALTH_CLUSTER names, or end with what is missing."""
        named = os.environ.get("KHEALTH_CLUSTER")
        if not named:
            sys.exit("no command that breaks the cluster: set KHEALTH_CLUSTER")
        return cls(tuple(shlex.split(named)))

    def tell(self, *words: str, **environment: str) -> str:
        """Let it do something, and return what it says."""
        done = subprocess.run(
            [*self.command, *words],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=True,
        )
        return done.stdout

    def programs(self, pattern: str) -> Sequence[str]:
        """Return the programs that a pattern names."""
        known = [line.split()[0] for line in self.tell("ps").splitlines() if line.strip()]
        return fnmatch.filter(known, pattern)

    @contextmanager
    def broken(self, verbs: tuple[str, str], things: Sequence[str]) -> Iterator[None]:
        """Break some things, and mend all of them whatever happens."""
        if not things:
            raise ValueError("there is nothing to break")
        breaks, mends = verbs
        with ExitStack() as mending:
            for thing in things:
                mending.callback(self.tell, mends, thing)
                self.tell(breaks, thing)
            yield

    @contextmanager
    def without(self, controller: str) -> Iterator[None]:
        """Run the controller manager without one of its controllers."""
        manager = "kube-controller-manager"
        try:
            self.tell("stop", manager)
            self.tell("start", manager, KHEALTH_CONTROLLERS=f"*,-{controller}")
            yield
        finally:
            self.tell("stop", manager)
            self.tell("start", manager, KHEALTH_CONTROLLERS="*")
