"""admission: a compliant pod is accepted on trial, and one that violates Pod Security is refused."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from khealth_exporter.canaries.pod_spec import PodSettings, pod_spec
from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.decoding import decode
from khealth_exporter.cluster.errors import Refused, undecodable
from khealth_exporter.cluster.kinds import NAMESPACE, POD
from khealth_exporter.cluster.namespace import ENFORCE
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import API_EDGES, Step
from khealth_exporter.vocabulary.verdict import Failed

ACCEPT = Step("accept", Component.API_SERVER, "a compliant pod is sent on trial → it is accepted", API_EDGES)
REFUSE = Step("refuse", Component.API_SERVER, "a pod on the host's network is sent on trial → it is refused", API_EDGES)

_POD_SECURITY = "violates PodSecurity"
"""Pod Security's own words (kubernetes/pod-security-admission, admission/admission.go)."""
_LEVELS = ("baseline", "restricted")
"""Pod Security Standards that forbid the host's network."""


class AdmissionSettings(RoutineSettings):
    """Settings of admission."""

    interval: Duration = 300.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 10.0
    """Upper bound of init, and again of cleanup."""
    pod: PodSettings = PodSettings()
    """The compliant pod's specification."""


class Admission(Routine[AdmissionSettings]):
    """Send pods on trial (a server-side dry run): nothing is stored, but admission runs, with its webhooks."""

    name: ClassVar[str] = "admission"
    steps: ClassVar[tuple[Step, ...]] = (ACCEPT, REFUSE)
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason.ADMISSION_BYPASSED,
        Reason.DRY_RUN_UNSUPPORTED,
        Reason.UNKNOWN,
    )
    writes: ClassVar[int] = 2
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("create", "pods", why="create pods on trial"),
        Permission("get", "namespaces", optional=True, why="know whether Pod Security is enforced"),
    )
    Settings: ClassVar[type[AdmissionSettings]] = AdmissionSettings

    def __init__(self, attempt: AttemptId, settings: AdmissionSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._cluster, self._clock = context.cluster, context.clock
        self._ruler = Ruler(context.measurement)

    async def init(self) -> None:
        """Send a compliant pod, and one that must be refused if the namespace enforces Pod Security."""
        answer = await self._try({})
        self.record(self._ruler.answer(ACCEPT, answer.sent, answer.answered, delay=answer.delay, tries=answer.tries))
        level = await self._level()
        if level in _LEVELS:
            await self._refused(level)

    async def cleanup(self) -> None:
        """Do nothing: a trial leaves nothing."""

    async def _level(self) -> str:
        """Return the Pod Security Standard that the namespace enforces; empty if that is not known, or none."""
        name, said = self._cluster.identity.namespace, ""
        try:
            found = await self._cluster.get(NAMESPACE, name, self.deadline)
            said = found.metadata.labels.get(ENFORCE, "") if found else ""
            told = said or f"namespace {name} enforces no Pod Security Standard: `refuse` is left out"
        except Refused as refused:
            if not refused.refusal.denied:
                raise
            told = f"khealth may not read namespace {name}: `refuse` is left out"
        self.record(Remark("Pod Security", told))
        return said

    async def _refused(self, level: str) -> None:
        """Send a pod that violates every level; raise Failed unless Pod Security refuses it."""
        sent, queued = self._clock.now(), self._clock.queued()
        try:
            answer = await self._try({"hostNetwork": True})
        except Refused as refused:
            answered = self._clock.now()
            if refused.reason is not Reason.API_REJECTED:
                raise
            if _POD_SECURITY not in refused.note:
                note = f"a pod on the host's network was refused, but not by Pod Security: {refused.note}"
                raise Failed(Reason.UNKNOWN, note, step=REFUSE) from refused
            delay = self._clock.delay(answered) + self._clock.queued() - queued
            self.record(self._ruler.answer(REFUSE, sent, answered, delay=delay, tries=refused.tries))
            return
        if not _read(answer).spec.host_network:
            note = "a pod on the host's network was accepted, but a mutating webhook or policy had changed it before"
            raise Failed(Reason.UNKNOWN, note, step=REFUSE)
        name = self._cluster.identity.namespace
        if await self._level() != level:
            raise Failed(Reason.INTERRUPTED, f"the Pod Security Standard of namespace {name} was changed")
        note = f"namespace {name} enforces {level}, but a pod on the host's network was accepted"
        raise Failed(Reason.ADMISSION_BYPASSED, f"{note}: is Pod Security off, or khealth exempt?", step=REFUSE)

    async def _try(self, more: Mapping[str, object]) -> Answer:
        """Send a pod with more in its specification; raise Refused, or Failed(api_error) if the answer is no pod."""
        answer = await self._cluster.create(POD, self._manifest(more), self.deadline, trial=True)
        _read(answer)
        return answer

    def _manifest(self, more: Mapping[str, object]) -> Mapping[str, object]:
        pod, own = self.settings.pod, self.ownership
        metadata = own.metadata() | {
            "labels": pod.labelled(own.labels),
            "annotations": {**pod.marks, **own.annotations},
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**pod_spec(pod, own.labels), **more}}


def _read(answer: Answer) -> Pod:
    """Return the pod that would have been stored; raise Failed(api_error) if it is none."""
    try:
        pod: Pod = decode(Pod, answer.body)
    except msgspec.MsgspecError as error:
        raise undecodable("answer", answer.body, str(error)) from error
    if not pod.spec.containers:
        raise undecodable("answer", answer.body, "no pod with containers")
    return pod
