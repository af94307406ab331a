"""Names, labels and owners of what khealth makes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from khealth_exporter.cluster.objects import KubernetesObject, unix_time

MANAGED = "app.kubernetes.io/managed-by"
ROUTINE, RUN, ATTEMPT = "khealth.io/routine", "khealth.io/run", "khealth.io/attempt"
MAX_AGE, INSTANCE = "khealth.io/max-age", "khealth.io/instance"
SELECTOR = f"{MANAGED}=khealth"
"""Selects everything that any khealth made."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The Pod that khealth itself runs in."""

    name: str
    uid: str

    def reference(self) -> Mapping[str, object]:
        """Return the ownerReference that lets what it makes go with it."""
        return {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a run of khealth is: a word in every name that it makes, the namespace, and the Pod that it lives in."""

    run: str
    namespace: str
    owner: Owner | None = None

    def name(self, routine: str, attempt: int) -> str:
        """Return the name of what an attempt makes: no other run, and no other attempt, ever has it."""
        return f"khealth-{routine}-{self.run}-{attempt}"

    def labels(self, routine: str, attempt: int) -> dict[str, str]:
        """Return the labels of everything that an attempt makes."""
        return {MANAGED: "khealth", ROUTINE: routine, RUN: self.run, ATTEMPT: str(attempt)}

    def annotations(self, max_age: float) -> dict[str, str]:
        """Return the annotations of everything that lives at most `max_age` seconds by right."""
        instance = {INSTANCE: self.owner.uid} if self.owner else {}
        return {MAX_AGE: str(math.ceil(max_age)), **instance}

    def metadata(self, routine: str, attempt: int, max_age: float) -> dict[str, object]:
        """Return the metadata of an attempt's own object; in a cluster it goes when khealth's Pod goes."""
        owned = {"ownerReferences": [self.owner.reference()]} if self.owner else {}
        return {
            "name": self.name(routine, attempt),
            "labels": self.labels(routine, attempt),
            "annotations": self.annotations(max_age),
            **owned,
        }

    def mine(self, found: KubernetesObject) -> bool:
        """Tell whether this very run made an object."""
        return found.metadata.labels.get(RUN) == self.run

    def dead(self, found: KubernetesObject, server_time: float) -> bool:
        """Tell whether the run that made an object is over, by the API server's own clock (Unix seconds).

        It is, where the object is older than its longest rightful life, or an earlier process of this same Pod made it.
        """
        if self.mine(found):
            return False
        if self.owner and found.metadata.annotations.get(INSTANCE) == self.owner.uid:
            return True
        created = unix_time(found.metadata.creation_timestamp)
        text = found.metadata.annotations.get(MAX_AGE, "")
        if MAX_AGE not in found.metadata.annotations:
            max_age = _UNMARKED
        else:
            max_age = float(text) if text.isdecimal() and len(text) <= _DIGITS else math.inf
        return created is not None and server_time - created > max_age


_UNMARKED = 3600.0
"""Seconds after which what lost its max-age counts as left behind; a max-age that makes no sense protects."""
_DIGITS = 9
