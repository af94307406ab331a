"""Names, labels and owners of what khealth creates, and whether the process that created it still runs."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from khealth_exporter.cluster.objects import KubernetesObject, unix_time

MANAGED = "app.kubernetes.io/managed-by"
MODULE, ROUTINE = "khealth.io/module", "khealth.io/routine"
RUN, ATTEMPT = "khealth.io/run", "khealth.io/attempt"
MAX_AGE, INSTANCE = "khealth.io/max-age", "khealth.io/instance"
SELECTOR = f"{MANAGED}=khealth"
"""Selects everything that any khealth created."""
COMPONENT, AGENT = "app.kubernetes.io/component", "agent"
"""The label that tells agents, which stay, from what attempts create; and its value."""
IDENTIFYING = (MODULE, ROUTINE, RUN, ATTEMPT)
"""Labels that tell the objects of one attempt from all others."""

LONGEST_NAME = 52
"""Characters: the ReplicationController's pods get a suffix, and the whole must fit a host name's 63."""
_UNMARKED = 3600.0
"""Seconds after which an object that lost its max-age counts as left behind; a max-age that makes no sense protects."""
_DIGITS = 9
_START_TIME = 19
"""Place of a process's start time in /proc/PID/stat, counted from the state that follows the command's name."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The Pod that khealth runs in."""

    name: str
    uid: str

    def reference(self) -> Mapping[str, object]:
        """Return the ownerReference that makes the garbage collector delete an object with this Pod."""
        return {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid}


def process_start(pid: int | None = None) -> str | None:
    """Return what tells a process, by default this one, from every other of its Pod; None if it does not exist.

    It is the process id with the start time (/proc/PID/stat, field 22): an id alone is used again.
    """
    try:
        return _stat(pid)
    except (OSError, LookupError):
        return None


def still_runs(instance: str) -> bool:
    """Tell whether the process of an instance of this Pod exists; what cannot be read is taken for running."""
    try:
        return _stat(int(instance.partition("-")[0])) == instance
    except (FileNotFoundError, ProcessLookupError):
        return False
    except (OSError, LookupError):
        return True


def _stat(pid: int | None) -> str:
    text = Path(f"/proc/{pid or 'self'}/stat").read_text(encoding="utf-8", errors="replace")
    number, rest = text.partition(" ")[0], text.rpartition(")")[2].split()
    return f"{number}-{rest[_START_TIME]}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which khealth this is: a word of its own in every name, the namespace, and in a cluster its Pod.

    `instance` is one process start. Two processes of one Pod, such as `khealth once` next to a running khealth, are two
    instances; `runs` tells whether the process of an instance of the same Pod still exists.
    """

    run: str
    namespace: str
    owner: Owner | None = None
    instance: str | None = None
    runs: Callable[[str], bool] = still_runs

    def of_attempt(self, module: str, routine: str, number: int, max_age: float) -> "Ownership":
        """Return the names and labels of what an attempt creates; `max_age` is its longest rightful life in seconds."""
        labels = {MANAGED: "khealth", MODULE: module, ROUTINE: routine, RUN: self.run, ATTEMPT: str(number)}
        instance = {INSTANCE: f"{self.owner.uid}.{self.instance}"} if self.owner and self.instance else {}
        annotations = {MAX_AGE: str(math.ceil(max_age)), **instance}
        return Ownership(_name(module, routine, self.run, number), labels, annotations, self.owner)

    def mine(self, found: KubernetesObject) -> bool:
        """Tell whether this run created an object."""
        return found.metadata.labels.get(RUN) == self.run

    def dead(self, found: KubernetesObject, server_time: float) -> bool:
        """Tell whether an object is left behind, by the API server's own clock (Unix seconds).

        It is, if it is older than its longest rightful life, or if a process of this Pod created it that has ended.
        """
        if self.mine(found):
            return False
        if self._ended(found.metadata.annotations.get(INSTANCE, "")):
            return True
        created = unix_time(found.metadata.creation_timestamp)
        text = found.metadata.annotations.get(MAX_AGE, "")
        if MAX_AGE not in found.metadata.annotations:
            max_age = _UNMARKED
        else:
            max_age = float(text) if text.isdecimal() and len(text) <= _DIGITS else math.inf
        return created is not None and server_time - created > max_age

    def _ended(self, instance: str) -> bool:
        uid, _, process = instance.partition(".")
        if not self.owner or uid != self.owner.uid:
            return False
        number = process.partition("-")[0]
        return not (number.isdecimal() and len(number) <= _DIGITS and self.runs(process))


@dataclass(frozen=True, slots=True)
class Ownership:
    """What marks the objects of one attempt: no other run, routine or attempt ever has the same name or labels."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner: Owner | None = None

    def part(self, word: str) -> "Ownership":
        """Return what marks one of several objects of the same kind: a name of its own, and the attempt's labels."""
        return replace(self, name=f"{self.name}-{word}")

    @property
    def key(self) -> tuple[str, ...]:
        """Return what a watch tells the attempt's objects by."""
        return tuple(self.labels[label] for label in IDENTIFYING)

    @property
    def selector(self) -> str:
        """Return the label selector of the attempt's objects."""
        return ",".join(f"{name}={value}" for name, value in self.labels.items())

    def metadata(self) -> dict[str, object]:
        """Return the metadata of an object that the attempt creates itself; in a cluster, khealth's Pod owns it."""
        owned = {"ownerReferences": [self.owner.reference()]} if self.owner else {}
        return {"name": self.name, "labels": dict(self.labels), "annotations": dict(self.annotations), **owned}

    def marks(self, found: KubernetesObject) -> bool:
        """Tell whether an object belongs to the attempt."""
        return key_of(found) == self.key


def key_of(found: KubernetesObject) -> tuple[str, ...]:
    """Return what tells the attempt of an object from others."""
    labels = found.metadata.labels
    return tuple(labels.get(label, "") for label in IDENTIFYING)


def passing(found: KubernetesObject) -> bool:
    """Tell whether an object is to go with its attempt: agents stay."""
    return found.metadata.labels.get(COMPONENT) != AGENT


def _name(module: str, routine: str, run: str, number: int) -> str:
    """Return an attempt's name, which no other attempt has; a digest tells apart what would look alike.

    Joined by hyphens, `network` and `policy-dns` would have the same name as `network-policy` and `dns`.
    """
    stem = routine if module == routine else f"{module}-{routine}"
    room = LONGEST_NAME - len(f"khealth--{run}-{number}")
    if "-" in routine or len(stem) > room:
        digest = hashlib.sha256(f"{module}/{routine}".encode()).hexdigest()[:6]
        stem = f"{stem[: room - len(digest) - 1].rstrip('-')}-{digest}"
    return f"khealth-{stem}-{run}-{number}"
