"""api: a ConfigMap is created, read, updated, read again, listed, seen changed on a watch, and deleted."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from khealth_exporter.canaries.interference import changed_by_another, deleted_by_another
from khealth_exporter.canaries.own_watch import changed_on_watch
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.servers import connect_to_each
from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.client.lookup import PAGE, decoded, decoded_page
from khealth_exporter.cluster.decoding import number_of
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import CONFIG_MAP, Kind
from khealth_exporter.cluster.objects import ConfigMap
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Figure, Reading
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import API_EDGES, Objective, Step
from khealth_exporter.vocabulary.verdict import Failed

MUTATING = Objective(0.99, 1, "Kubernetes SIG Scalability: mutating API calls")


def _step(name: str, meaning: str, objective: Objective | None = None) -> Step:
    return Step(name, Component.API_SERVER, meaning, API_EDGES, objective)


CONNECT = _step("connect", "a TCP connection is begun → GET /readyz is answered on it, over TLS")
CREATE = _step("create", "the create is sent → its answer is complete", MUTATING)
GET = _step("get", "the get is sent → its answer is complete")
UPDATE = _step("update", "the update is sent → its answer is complete", MUTATING)
LIST = _step("list", "the list is sent → its answer is complete")
WATCH = _step("watch", "the update is sent → a watch shows it")
DELETE = _step("delete", "the delete is sent → its answer is complete", MUTATING)
CERTIFICATE = Figure(
    "api_certificate_expiry_timestamp_seconds", "Unix time at which the API server's serving certificate expires."
)


class ApiSettings(RoutineSettings):
    """Settings of api."""

    interval: Duration = 45.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 10.0
    """Upper bound of init, and again of cleanup."""
    endpoints: bool = False
    """Whether `connect` also goes to each address of the API server, as the EndpointSlice `kubernetes` lists them."""


class Api(Routine[ApiSettings]):
    """Exercise the API server with a ConfigMap: create, get, update, list, watch, delete; and connect to it."""

    name: ClassVar[str] = "api"
    steps: ClassVar[tuple[Step, ...]] = (CONNECT, CREATE, GET, UPDATE, LIST, WATCH, DELETE)
    reasons: ClassVar[tuple[Reason, ...]] = (Reason.STALE_READ, Reason.ONE_API_SERVER)
    makes: ClassVar[tuple[Kind[Any], ...]] = (CONFIG_MAP,)
    writes: ClassVar[int] = 3
    figures: ClassVar[tuple[Figure, ...]] = (CERTIFICATE,)
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("update", "configmaps", why="change the canary"),
        Permission("watch", "configmaps", why="see the canary change"),
        Permission(
            "list", "endpointslices", "discovery.k8s.io", "cluster", when="endpoints", why="find each API server"
        ),
    )
    Settings: ClassVar[type[ApiSettings]] = ApiSettings

    def __init__(self, attempt: AttemptId, settings: ApiSettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._cluster, self._client = context.cluster, context.cluster.client
        self._map = Owned(CONFIG_MAP, self.ownership, context, self.changed, watched=False)
        self._ends: list[float] = []

    async def init(self) -> None:
        """Connect; write the ConfigMap, change it, and see both in every way that the API offers."""
        await self._connect()
        self.record(await self._map.create(self._manifest("1"), self.deadline, CREATE))
        written = self._map.known
        self._check(await self._get("get after create"), written, "get after create", GET)
        async with changed_on_watch(self._cluster, CONFIG_MAP, written, self.deadline) as watch:
            answer = await self._update(written)
            updated = decoded(CONFIG_MAP, answer)
            self._check(await self._get("get after update"), updated, "get after update", GET)
            self._check(await self._listed(updated.uid), updated, "list after update", LIST)
            seen = await watch.shows(updated, self.deadline)
            delay = max(seen.delay, answer.delay)
            self.record(self._map.ruler.answer(WATCH, answer.sent, seen.at, delay=delay, tries=answer.tries))
        if self.settings.endpoints:
            await self._connect_to_each()

    async def cleanup(self) -> None:
        """Delete the ConfigMap."""
        if self._map.begun and (answer := await self._map.delete(self.deadline)):
            self._record(DELETE, answer)

    def close(self) -> None:
        """Let a sweep take what is left."""
        self._map.close()

    async def _connect(self) -> None:
        answer = await self._client.connect("/readyz", self.deadline)
        self._record(CONNECT, answer)
        if answer.certificate_end is not None:
            self.record(Reading(CERTIFICATE, answer.certificate_end))
            self._ends.append(answer.certificate_end)

    async def _connect_to_each(self) -> None:
        """Connect to each address; last, so that a dead one takes no time of the steps."""
        servers = await connect_to_each(self._cluster, self.deadline)
        if ends := [*self._ends, *servers.ends]:
            self.record(Reading(CERTIFICATE, min(ends)))
        servers.judge()

    async def _get(self, what: str) -> ConfigMap:
        path = self._cluster.path(CONFIG_MAP, self.ownership.name)
        try:
            answer = await self._client.request("get", CONFIG_MAP.plural, path, deadline=self.deadline)
        except Refused as refused:
            if refused.refusal.missing:
                raise await self._missing(what, GET) from refused
            raise
        self._record(GET, answer)
        return decoded(CONFIG_MAP, answer)

    async def _update(self, written: ConfigMap) -> Answer:
        manifest = self._manifest("2", written.metadata.resource_version)
        try:
            answer = await self._cluster.update(CONFIG_MAP, written.name, manifest, self.deadline)
        except Refused as refused:
            if refused.refusal.missing:
                raise await self._missing("update", UPDATE) from refused
            if refused.refusal.conflict:
                changed = await changed_by_another(self._cluster, CONFIG_MAP, written, self.deadline)
                raise changed or refused from refused
            raise
        self._record(UPDATE, answer)
        return answer

    async def _listed(self, uid: str) -> ConfigMap:
        query = {"labelSelector": self.ownership.selector, "limit": str(PAGE)}
        path = self._cluster.path(CONFIG_MAP)
        answer = await self._client.request("list", CONFIG_MAP.plural, path, query=query, deadline=self.deadline)
        self._record(LIST, answer)
        _, found = decoded_page(CONFIG_MAP, answer)
        if listed := next((item for item in found if item.uid == uid), None):
            return listed
        if not self.ownership.marks(await self._get("get after list")):
            raise Failed(Reason.INTERRUPTED, "the labels of the ConfigMap were changed by another client")
        raise await self._missing("list after update", LIST)

    async def _missing(self, what: str, step: Step) -> Failed:
        """Return what it means that the ConfigMap was not found: a read may be stale, its deletion is not."""
        answer = await self._map.delete(self.deadline)
        if answer is None or answer.code == HTTPStatus.NOT_FOUND:
            name = self.ownership.name
            return await deleted_by_another(self._cluster, CONFIG_MAP, name, self._manifest("1"), self.deadline)
        self._record(DELETE, answer)
        return Failed(Reason.STALE_READ, f"{what} did not find the ConfigMap, which exists", step=step)

    def _check(self, found: ConfigMap, written: ConfigMap, what: str, step: Step) -> None:
        """Raise Failed if a read after an acknowledged write shows what was there before it."""
        older, newer = found.metadata.resource_version, written.metadata.resource_version
        if number_of(older) < number_of(newer):
            note = f"{what} returned resourceVersion {older}, but the write was acknowledged as {newer}"
            raise Failed(Reason.STALE_READ, note, step=step)

    def _record(self, step: Step, answer: Answer) -> None:
        self.record(self._map.measured(step, answer))

    def _manifest(self, value: str, version: str = "") -> Mapping[str, object]:
        metadata = self.ownership.metadata() | ({"resourceVersion": version} if version else {})
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}
