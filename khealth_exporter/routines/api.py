"""api: a ConfigMap is created, read, updated, read again, listed, seen changed on a watch, and deleted."""

from collections.abc import Mapping
from typing import Any, ClassVar

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

    interval: Duration = 30.0
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

    async def init(self) -> None:
        """Connect; write the ConfigMap, change it, and see both in every way that the API offers."""
        await self._connect()
        self.record(await self._map.create(self._manifest("1"), self.deadline, CREATE))
        written = self._map.item or ConfigMap()
        self._check(await self._get(), written, "get after create")
        with_version = self._manifest("2", written.metadata.resource_version)
        async with changed_on_watch(self._cluster, CONFIG_MAP, written, self.deadline) as watch:
            answer = await self._cluster.update(CONFIG_MAP, written.name, with_version, self.deadline)
            self._record(UPDATE, answer)
            updated = decoded(CONFIG_MAP, answer)
            self._check(await self._get(), updated, "get after update")
            await self._list(updated)
            seen = await watch.shows(updated, self.deadline)
            self.record(self._map.ruler.answer(WATCH, answer.sent, seen.at, delay=seen.delay, tries=answer.tries))

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
        ends = [answer.certificate_end]
        if self.settings.endpoints:
            ends += await connect_to_each(self._cluster, self.deadline)
        if known := [end for end in ends if end is not None]:
            self.record(Reading(CERTIFICATE, min(known)))

    async def _get(self) -> ConfigMap:
        path = self._cluster.path(CONFIG_MAP, self.ownership.name)
        try:
            answer = await self._client.request("get", CONFIG_MAP.plural, path, deadline=self.deadline)
        except Refused as refused:
            if refused.refusal.missing:
                note = "get returned not found, but the create was acknowledged"
                raise Failed(Reason.STALE_READ, note, step=GET) from refused
            raise
        self._record(GET, answer)
        return decoded(CONFIG_MAP, answer)

    async def _list(self, written: ConfigMap) -> None:
        query = {"labelSelector": self.ownership.selector, "limit": str(PAGE)}
        path = self._cluster.path(CONFIG_MAP)
        answer = await self._client.request("list", CONFIG_MAP.plural, path, query=query, deadline=self.deadline)
        self._record(LIST, answer)
        _, found = decoded_page(CONFIG_MAP, answer)
        self._check(
            next((item for item in found if item.uid == written.uid), ConfigMap()), written, "list after update"
        )

    def _check(self, found: ConfigMap, written: ConfigMap, what: str) -> None:
        """Raise Failed if a read after an acknowledged write shows what was there before it."""
        older, newer = found.metadata.resource_version, written.metadata.resource_version
        if number_of(older) < number_of(newer):
            note = f"{what} returned resourceVersion {older or 'none'}, but the write was acknowledged as {newer}"
            raise Failed(Reason.STALE_READ, note, step=LIST if what.startswith("list") else GET)

    def _record(self, step: Step, answer: Answer) -> None:
        self.record(self._map.measured(step, answer))

    def _manifest(self, value: str, version: str = "") -> Mapping[str, object]:
        metadata = self.ownership.metadata() | ({"resourceVersion": version} if version else {})
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}
