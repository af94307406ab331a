"""How it is wired: run, once and sweep against a small cluster, signals, and who this run is."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from agent_cluster import AgentCluster
from documents import Json
from fakes import FORBIDDEN, UNREACHABLE, Asked, FakeApi, hanging, refusing
from prometheus_client import CollectorRegistry, enable_created_metrics, generate_latest
from small_cluster import CONTROLLERS, SmallCluster
from structlog.testing import capture_logs
from virtual_time import BEGINNING, Deadlock, Livelock, aside, run, virtual_clock, virtual_loop

from khealth_exporter.app import commands as app
from khealth_exporter.app.commands import CannotStart, OnceResult, Options, Process
from khealth_exporter.app.exporter import background
from khealth_exporter.cluster.credentials.credentials import CredentialsError
from khealth_exporter.cluster.errors import Refusal, Refused
from khealth_exporter.cluster.kinds import NODE
from khealth_exporter.config import Config, ConfigError, load
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.core.routine import Routine, RoutineConfig, RoutineSettings
from khealth_exporter.core.snapshot import State
from khealth_exporter.core.supervisor import Pace
from khealth_exporter.routines.rcscheduler import RcScheduler, RcSchedulerSettings
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import CanarySettings, MeasurementSettings
from khealth_exporter.vocabulary.verdict import Verdict


@dataclass(frozen=True)
class Credentials:
    """The client and the server."""

    server: str = "https://cluster.example"
    namespace: str | None = None
    in_cluster: bool = False


ROUTINE = RoutineConfig("rcscheduler", "rcscheduler", RcScheduler, RcSchedulerSettings())
OPTIONS = Options(Config("khealth", MeasurementSettings(), (ROUTINE,), ""))
OURS: Any = Credentials()


@dataclass
class Stage:
    """A process, and the small cluster that its client reaches."""

    process: Process
    api: FakeApi
    small: SmallCluster

    def later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        asyncio.get_running_loop().call_later(seconds, call, *arguments)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
    """Return what runs a scenario on a stage, in virtual time."""

    async def scenario(test: Callable[[Stage], Awaitable[None]]) -> None:
        clock = virtual_clock()
        api = FakeApi(clock)
        monkeypatch.setattr(app, "Client", lambda *_: api)
        metrics = Metrics(CollectorRegistry(), clock)
        process = Process(clock, metrics, "run", random.Random(1), aside)
        await test(Stage(process, api, SmallCluster(api)))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    return lambda test: run(scenario(test))


Play = Callable[[Callable[[Stage], Awaitable[None]]], None]


def only_verdict(result: OnceResult) -> Verdict:
    """Return what the only attempt of the first routine says."""
    (attempt,) = result.snapshots[0].routines[0].attempts
    assert attempt.verdict is not None
    return attempt.verdict


def test_once_makes_one_attempt_of_each_routine(play: Play) -> None:
    """It ends by itself, says what was found and where, and closes its client."""

    async def test(stage: Stage) -> None:
        other = replace(ROUTINE, label="other")
        options = replace(OPTIONS, config=replace(OPTIONS.config, routines=(ROUTINE, other)))
        result = await app.once(options, process=stage.process, credentials=OURS)
        assert ["rcscheduler", "other"] == [status.routine for status in result.snapshots[0].routines]
        assert ("https://cluster.example", State.WELL) == (result.cluster, result.snapshots[0].state)
        assert ([], True) == (stage.small.left, stage.api.closed)

    play(test)


def test_once_has_no_memory_and_calls_nothing_cold(play: Play) -> None:
    """Its startups are exact, and enter the SLI."""

    async def test(stage: Stage) -> None:
        await app.once(OPTIONS, process=stage.process, credentials=OURS)
        name = "khealth_pod_startup_duration_seconds_count"
        labels = {"module": "rcscheduler", "routine": "rcscheduler"}
        assert 3.0 == stage.process.metrics.registry.get_sample_value(name, labels)

    play(test)


def test_once_ends_at_its_timeout(play: Play) -> None:
    """What is under way then is interrupted, and cleaned up."""

    async def test(stage: Stage) -> None:
        stage.small.stuck = dict.fromkeys(range(3), "scheduled")
        result = await app.once(replace(OPTIONS, timeout=7.0), process=stage.process, credentials=OURS)
        assert (Reason.INTERRUPTED, []) == (only_verdict(result).reason, stage.small.left)
        assert virtual_loop().time() - BEGINNING < 9.0

    play(test)


@pytest.mark.parametrize("seconds", [3.0, 8.0])
def test_once_tells_the_last_refusal_at_its_timeout(play: Play, seconds: float) -> None:
    """Whether its attempt has begun by then or not: not that it was stopped, but what kept it from its end."""

    async def test(stage: Stage) -> None:
        stage.api.trouble = Refused(
            Refusal(Reason.PROXY_ERROR, "proxy http://proxy:1: dead", retry=True), "get namespaces"
        )
        stage.api.faults.append(hanging("create", "get", "list", "watch"))
        result = await app.once(replace(OPTIONS, timeout=seconds), process=stage.process, credentials=OURS)
        verdict = only_verdict(result)
        assert (Reason.PROXY_ERROR, "get namespaces: proxy http://proxy:1: dead") == (verdict.reason, verdict.note)

    play(test)


def test_once_says_that_its_timeout_was_too_short(play: Play) -> None:
    """Where the API server has answered all that was asked."""

    async def test(stage: Stage) -> None:
        stage.small.stuck = dict.fromkeys(range(3), "scheduled")
        result = await app.once(replace(OPTIONS, timeout=7.0), process=stage.process, credentials=OURS)
        assert "not finished within --timeout 7s" == only_verdict(result).note

    play(test)


def test_once_says_that_the_namespace_did_not_go(play: Play) -> None:
    """Its timeout may come while it waits for that."""

    async def test(stage: Stage) -> None:
        stage.api.put("namespaces", {"metadata": {"name": "khealth", "deletionTimestamp": "2026-11-23T14:30:00Z"}})
        result = await app.once(replace(OPTIONS, timeout=3.0), process=stage.process, credentials=OURS)
        verdict = only_verdict(result)
        assert (Reason.INTERRUPTED, "namespace khealth is still terminating") == (verdict.reason, verdict.note)

    play(test)


def test_once_waits_for_a_namespace_that_is_being_deleted(play: Play) -> None:
    """Then it makes its own, and removes it in the end."""

    async def test(stage: Stage) -> None:
        going = {"metadata": {"name": "khealth", "deletionTimestamp": "2026-11-23T14:30:00Z"}}
        stage.api.put("namespaces", going)
        stage.later(9.0, stage.api.remove, "namespaces", "khealth")
        result = await app.once(OPTIONS, process=stage.process, credentials=OURS)
        (created,) = stage.api.named("create")
        assert (State.WELL, True) == (result.snapshots[0].state, created.at - BEGINNING >= 9.0)

    play(test)


def test_a_signal_ends_the_wait_for_a_namespace(play: Play) -> None:
    """Nothing is begun any more: the attempt is interrupted before it created anything."""

    async def test(stage: Stage) -> None:
        going = {"metadata": {"name": "khealth", "deletionTimestamp": "2026-11-23T14:30:00Z"}}
        stage.api.put("namespaces", going)
        stage.later(5.0, os.kill, os.getpid(), signal.SIGTERM)
        result = await app.once(OPTIONS, process=stage.process, credentials=OURS)
        assert (Reason.INTERRUPTED, []) == (only_verdict(result).reason, stage.api.named("create"))
        assert virtual_loop().time() - BEGINNING < 6.0

    play(test)


def test_once_removes_a_namespace_that_it_made(play: Play) -> None:
    """And no other."""

    async def test(stage: Stage) -> None:
        made = stage.api.created

        def created(resource: str, item: Json) -> None:
            made(resource, item)
            if resource == "namespaces":
                stage.api.put("serviceaccounts", {"metadata": {"name": "default"}})

        async def missing(asked: Asked) -> Any:
            there = "khealth" in stage.api.objects.get("namespaces", {})
            return (
                replace(FORBIDDEN, code=404)
                if asked.resource == CONTROLLERS and asked.verb == "create" and not there
                else None
            )

        stage.api.created = created
        stage.api.deleted = namespaces_too(stage.api.deleted)
        stage.api.faults.append(missing)
        result = await app.once(OPTIONS, process=stage.process, credentials=OURS)
        assert (State.WELL, {}) == (result.snapshots[0].state, stage.api.objects["namespaces"])

    play(test)


def namespaces_too(whole: Callable[[str, Json, Json], bool]) -> Callable[[str, Json, Json], bool]:
    """Let namespaces go at once."""
    return lambda resource, item, options: resource == "namespaces" or whole(resource, item, options)


@pytest.mark.parametrize("answered", [False, True])
def test_once_tells_whether_there_was_any_answer(play: Play, *, answered: bool) -> None:
    """The exit code depends on it."""

    async def test(stage: Stage) -> None:
        if answered:
            stage.process.metrics.request("list", "pods", "403", 0.1)
        stage.api.faults.append(refusing("list", "watch", "get", by=UNREACHABLE))
        assert answered is (await app.once(OPTIONS, process=stage.process, credentials=OURS)).answered

    play(test)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_run_works_until_a_signal(play: Play, number: signal.Signals) -> None:
    """Then it cleans up, stops serving, closes its client and returns 0."""

    async def test(stage: Stage) -> None:
        stage.later(100.0, os.kill, os.getpid(), number)
        code = await app.run(OPTIONS, process=stage.process, credentials=OURS)
        assert (0, [], True) == (code, stage.small.left, stage.api.closed)
        assert 100.0 <= virtual_loop().time() - BEGINNING < 110.0

    play(test)


def reloading(path: Path) -> Options:
    """Return options that load a file, now and again."""
    loads = partial(load, path, namespace="khealth")
    return replace(OPTIONS, config=loads(), load=loads)


def test_a_hangup_reloads_where_there_is_what_to_load(play: Play, tmp_path: Path) -> None:
    """Khealth goes on, with the file as it is then; the next signal ends it."""
    path = tmp_path / "khealth.yaml"
    path.write_text("{}")

    async def test(stage: Stage) -> None:
        options = reloading(path)
        path.write_text("modules: {rcscheduler: {rcscheduler: {interval: 2m}}}")
        stage.later(1.0, os.kill, os.getpid(), signal.SIGHUP)
        stage.later(100.0, os.kill, os.getpid(), signal.SIGTERM)
        with capture_logs() as logs:
            code = await app.run(options, process=stage.process, credentials=OURS)
        interval = stage.process.metrics.interval.labels("rcscheduler", "rcscheduler")._value.get()
        causes = [entry["cause"] for entry in logs if entry["event"] == "configuration loaded"]
        assert (0, 120.0, ["signal"]) == (code, interval, causes)
        assert ([], True) == (stage.small.left, virtual_loop().time() - BEGINNING >= 100.0)

    play(test)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_moment_that_it_serves_does_what_it_does_later(
    play: Play, tmp_path: Path, number: signal.Signals
) -> None:
    """A supervisor that reads the line may send it at once: an end is clean, and a reload is one."""
    path = tmp_path / "khealth.yaml"
    path.write_text("{}")

    async def test(stage: Stage) -> None:
        stage.later(100.0, os.kill, os.getpid(), signal.SIGTERM)
        with capture_logs() as logs:
            code = await app.run(
                reloading(path),
                process=stage.process,
                credentials=OURS,
                announce=lambda _: os.kill(os.getpid(), number),
            )
        causes = [entry["cause"] for entry in logs if entry["event"] == "configuration loaded"]
        lasted = virtual_loop().time() - BEGINNING >= 100.0
        reloaded = number is signal.SIGHUP
        assert (0, ["signal"] * reloaded, reloaded, []) == (code, causes, lasted, stage.small.left)

    play(test)


def test_once_and_a_hangup_still_end(play: Play, tmp_path: Path) -> None:
    """A smoke test whose terminal is closed cleans up, though it could load its file again."""
    path = tmp_path / "khealth.yaml"
    path.write_text("{}")

    async def test(stage: Stage) -> None:
        stage.small.looking = False
        stage.later(3.0, os.kill, os.getpid(), signal.SIGHUP)
        result = await app.once(reloading(path), process=stage.process, credentials=OURS)
        assert (Reason.INTERRUPTED, []) == (only_verdict(result).reason, stage.small.left)

    play(test)


def test_a_hangup_in_a_shutdown_changes_nothing(play: Play, tmp_path: Path) -> None:
    """It is no second signal either: what is being cleaned up is cleaned up."""
    path = tmp_path / "khealth.yaml"
    path.write_text("{}")

    async def test(stage: Stage) -> None:
        options = reloading(path)
        stage.later(3.0, os.kill, os.getpid(), signal.SIGTERM)
        stage.later(3.1, path.write_text, "modules: {rcscheduler: {other: {kind: rcscheduler}}}")
        stage.later(3.1, os.kill, os.getpid(), signal.SIGHUP)
        code = await app.run(options, process=stage.process, credentials=OURS)
        made = [asked.body["metadata"]["name"] for asked in stage.api.named("create", CONTROLLERS)]
        assert (0, [], 1) == (code, stage.small.left, sum("rcscheduler" in name for name in made))

    play(test)


@pytest.mark.parametrize(
    ("credentials", "text", "refused"),
    [
        (Credentials(), "namespace: khealth", 0),
        (Credentials(namespace="mine", in_cluster=True), "namespace: mine", 0),
        (Credentials(namespace="mine", in_cluster=True), "namespace: khealth", 1),
    ],
    ids=["named", "the pod's", "another"],
)
def test_a_reload_knows_in_which_namespace_the_run_works(
    play: Play, tmp_path: Path, credentials: Any, text: str, refused: int
) -> None:
    """Where none is configured it is `khealth`, or the Pod's own; to name that one is no change."""
    path = tmp_path / "khealth.yaml"
    path.write_text("{}")

    async def test(stage: Stage) -> None:
        loads = partial(load, path)
        options = replace(OPTIONS, config=loads(), load=loads)
        path.write_text(text)
        async with app._exporter(options, stage.process, credentials) as exporter:
            assert refused == len(await exporter.reload())

    play(test)


def test_a_second_signal_ends_at_once(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 128 and its number, whatever is still to be cleaned up."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)

    async def test(stage: Stage) -> None:
        stage.small.ending = False
        stage.later(5.0, os.kill, os.getpid(), signal.SIGTERM)
        stage.later(7.0, os.kill, os.getpid(), signal.SIGINT)
        await app.run(OPTIONS, process=stage.process, credentials=OURS)
        assert [130] == codes

    play(test)


def test_run_sweeps_what_dead_runs_left(play: Play) -> None:
    """While it works, and without being asked."""

    async def test(stage: Stage) -> None:
        labels = {"app.kubernetes.io/managed-by": "khealth", "khealth.io/run": "dead"}
        old = {"labels": labels, "annotations": {"khealth.io/max-age": "10"}, "name": "old"}
        stage.api.put(CONTROLLERS, {"metadata": old, "spec": {"replicas": 0}})
        stage.later(50.0, os.kill, os.getpid(), signal.SIGTERM)
        await app.run(OPTIONS, process=stage.process, credentials=OURS)
        assert [] == stage.small.left

    play(test)


def leave(stage: Stage, *, age: str = "1") -> None:
    """Leave a controller of a dead run behind."""
    labels = {"app.kubernetes.io/managed-by": "khealth", "khealth.io/run": "dead"}
    metadata = {"labels": labels, "annotations": {"khealth.io/max-age": age}, "name": "old"}
    stage.api.put(CONTROLLERS, {"metadata": metadata, "spec": {"replicas": 0}})


@pytest.mark.parametrize(
    ("dry_run", "everything", "age", "deleted", "left"),
    [
        (False, False, "1", ("ReplicationController/old",), []),
        (True, False, "1", ("ReplicationController/old",), ["old"]),
        (False, False, "1000", (), ["old"]),
        (False, True, "1000", ("ReplicationController/old",), []),
    ],
    ids=["dead", "dry", "living", "all"],
)
def test_sweep_deletes_what_dead_runs_left(  # noqa: PLR0913 - a row of the table
    play: Play, *, dry_run: bool, everything: bool, age: str, deleted: tuple[str, ...], left: list[str]
) -> None:
    """And tells what; `--dry-run` deletes nothing, `--all` takes the living too."""

    async def test(stage: Stage) -> None:
        leave(stage, age=age)
        await asyncio.sleep(10.0)
        found = await app.sweep(
            OPTIONS, dry_run=dry_run, everything=everything, process=stage.process, credentials=OURS
        )
        assert (deleted, (), None, left) == (found.deleted, found.left, found.failed, stage.small.left)

    play(test)


def test_sweep_says_what_kept_it_from_its_work(play: Play) -> None:
    """Forbidden to look, or no answer."""

    async def test(stage: Stage) -> None:
        stage.api.faults.append(refusing("list", by=FORBIDDEN))
        found = await app.sweep(OPTIONS, dry_run=False, everything=False, process=stage.process, credentials=OURS)
        assert found.failed is not None
        assert Reason.FORBIDDEN is found.failed.reason

    play(test)


@pytest.mark.parametrize("command", [app.once, app.run])
def test_without_credentials_nothing_starts(
    play: Play, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Awaitable[object]]
) -> None:
    """Its text is a sentence for an administrator."""

    def missing(*_: object) -> None:
        raise CredentialsError("there is no kubeconfig")

    monkeypatch.setattr(app, "load_credentials", missing)

    async def test(stage: Stage) -> None:
        with pytest.raises(CannotStart, match="there is no kubeconfig"):
            await command(OPTIONS, process=stage.process)

    play(test)


def test_how_to_find_the_cluster_comes_from_the_command_line(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Client mode, kubeconfig and context are handed on."""
    asked: list[tuple[object, ...]] = []

    def load(*arguments: object) -> Credentials:
        asked.append(arguments)
        return Credentials()

    monkeypatch.setattr(app, "load_credentials", load)

    async def test(stage: Stage) -> None:
        options = replace(OPTIONS, client_mode="kubeconfig", kubeconfig=Path("here"), context="other")
        await app.once(options, process=stage.process)
        assert [("kubeconfig", Path("here"), "other")] == asked

    play(test)


@pytest.mark.parametrize(
    ("configured", "credentials", "namespace", "owned"),
    [
        (None, Credentials(), "khealth", False),
        (None, Credentials(namespace="mine"), "khealth", False),
        (None, Credentials(namespace="mine", in_cluster=True), "mine", True),
        ("other", Credentials(namespace="mine", in_cluster=True), "other", False),
        ("mine", Credentials(namespace="mine", in_cluster=True), "mine", True),
    ],
    ids=["outside", "context", "pod", "elsewhere", "named"],
)
def test_who_this_run_is(  # noqa: PLR0913 - a row of the table
    play: Play,
    monkeypatch: pytest.MonkeyPatch,
    configured: str | None,
    credentials: Any,
    namespace: str,
    *,
    owned: bool,
) -> None:
    """In a Pod it works in the Pod's namespace and owns what it makes; elsewhere in `khealth`, or where it is told."""
    monkeypatch.setenv("POD_NAME", "khealth-0")
    monkeypatch.setenv("POD_UID", "uid-khealth-0")

    async def test(stage: Stage) -> None:
        options = replace(OPTIONS, config=replace(OPTIONS.config, namespace=configured))
        await app.once(options, process=stage.process, credentials=credentials)
        (created,) = stage.api.named("create")
        owners = [reference["uid"] for reference in created.body["metadata"].get("ownerReferences", ())]
        assert f"/api/v1/namespaces/{namespace}/replicationcontrollers" == created.path
        assert (["uid-khealth-0"] if owned else []) == owners

    play(test)


def test_nothing_begins_without_the_protection_that_is_asked_for(play: Play, tmp_path: Path) -> None:
    """A web configuration that cannot be used is told before anything is made, or served in clear text."""
    path = tmp_path / "web.yaml"
    path.write_text("tls_server_config: {cert_file: gone.pem, key_file: gone.key}")

    async def test(stage: Stage) -> None:
        with pytest.raises(ConfigError, match=r"gone\.pem cannot be read"):
            await app.run(replace(OPTIONS, web_config=path), process=stage.process, credentials=OURS)
        assert [] == stage.api.asked

    play(test)


def test_a_bug_in_a_loop_is_loud_and_does_not_end_it(play: Play) -> None:
    """It is logged with its trace, and the loop starts again a second later."""
    begun: list[float] = []

    async def loop() -> None:
        begun.append(virtual_loop().time() - BEGINNING)
        raise ValueError("a bug")

    async def test(_: Stage) -> None:
        with capture_logs() as logs:
            async with background(loop):
                await asyncio.sleep(2.5)
        assert [0.0, 1.0, 2.0] == begun
        assert ["a bug"] * 3 == [str(entry["exc_info"]) for entry in logs if entry["log_level"] == "error"]

    play(test)


@asynccontextmanager
async def working(stage: Stage) -> AsyncIterator[app.Exporter]:
    """Let an exporter work until the block ends."""
    async with app._exporter(OPTIONS, stage.process, OURS) as exporter, asyncio.TaskGroup() as group:
        group.create_task(exporter.work())
        await asyncio.sleep(5.0)
        yield exporter
        exporter.terminate()


def test_the_exporter_knows_what_the_web_server_shows(play: Play) -> None:
    """Snapshots, the configuration in force, that it is ready, and that no loop is silent."""

    async def test(stage: Stage) -> None:
        async with working(stage) as exporter:
            assert ["rcscheduler"] == [snapshot.module for snapshot in exporter.snapshots()]
            assert "pod_ttl: 20s" in exporter.configuration()
            assert (True, ()) == (exporter.ready(), exporter.silent())

    play(test)


def test_the_lead_can_be_lost_and_won_again(play: Play) -> None:
    """The gauge follows, and the attempts go on where they were."""

    async def test(stage: Stage) -> None:
        async with working(stage) as exporter:
            gauge = partial(stage.process.metrics.registry.get_sample_value, "khealth_leader")
            seen = [gauge()]
            (collector,) = exporter._collectors.values()
            collector.terminate()
            await asyncio.sleep(10.0)
            seen.append(gauge())
            again = asyncio.create_task(exporter._lead(Pace()))
            await asyncio.sleep(10.0)
            seen.append(gauge())
            exporter.terminate()
            await again
            (status,) = exporter.snapshots()[0].routines
            assert ([1.0, 0.0, 1.0, 0.0], [1, 2]) == ([*seen, gauge()], [a.number for a in status.attempts])

    play(test)


class Asker(Routine[RoutineSettings]):
    """Asks all agents who they are."""

    name = "asker"
    steps = ()
    writes = 0
    needs_agents = True
    Settings = RoutineSettings

    async def init(self) -> None:
        """Ask."""
        agents = self.context.agents
        assert agents
        found = await agents.ready(self.deadline)
        heard = await agents.ask(found, "dns", lambda _agent: {}, self.deadline)
        self.record(Remark("agents", ", ".join(told.document["name"] for told in heard.told)))

    async def cleanup(self) -> None:
        """Leave nothing."""


def with_agents(stage: Stage) -> None:
    """Let agents answer that khealth runs itself."""
    here = Mock(small=stage.small, api=stage.api, clock=stage.process.clock)
    AgentCluster(here, secret_name="khealth-agents-run-1")


ASKING = replace(
    OPTIONS,
    config=replace(
        OPTIONS.config,
        routines=(RoutineConfig("network", "asker", Asker, RoutineSettings()),),
        canary=CanarySettings(image="khealth:test"),
    ),
)


def test_once_runs_agents_for_a_routine_that_asks_them_and_removes_them(play: Play) -> None:
    """Outside of the cluster; the routine only asks."""

    async def test(stage: Stage) -> None:
        with_agents(stage)
        result = await app.once(ASKING, process=stage.process, credentials=OURS)
        (status,) = result.snapshots[0].routines

        expected = ", ".join(f"khealth-agents-run-1-{number}" for number in (1, 2))
        assert [expected] == [remark.text for remark in status.remarks]
        assert [[], {}] == [stage.small.pod_names(), stage.api.objects["secrets"]]

    play(test)


def test_a_run_keeps_its_agents_between_attempts_and_removes_them_at_the_end(play: Play) -> None:
    """To make them for each attempt would cost more than what they measure."""

    async def test(stage: Stage) -> None:
        with_agents(stage)
        async with app._exporter(ASKING, stage.process, OURS) as exporter, asyncio.TaskGroup() as group:
            group.create_task(exporter.work())
            await asyncio.sleep(1000.0)
            exporter.terminate()

        assert 2 == len(stage.api.named("create", "pods"))
        assert [[], {}] == [stage.small.pod_names(), stage.api.objects["secrets"]]

    play(test)


def test_in_a_cluster_the_charts_agents_are_asked(play: Play) -> None:
    """Khealth makes none itself."""

    async def test(stage: Stage) -> None:
        with_agents(stage)
        ours: Any = Credentials(namespace="khealth", in_cluster=True)
        result = await app.once(ASKING, process=stage.process, credentials=ours)

        assert Reason.AGENTS_NOT_READY is only_verdict(result).reason
        assert [] == stage.api.named("create")

    play(test)


def test_the_exporter_knows_what_khealth_may_not_do(play: Play) -> None:
    """With what the core and the routines need the right for."""

    async def test(stage: Stage) -> None:
        for verb, resource in (("create", "replicationcontrollers"), ("list", "nodes")):
            stage.api.faults.append(refusing(verb, resource=resource, by=FORBIDDEN))
        async with working(stage) as exporter:
            with suppress(Refused):
                await exporter.cluster.list(NODE, stage.process.clock.now() + 1.0)
            await asyncio.sleep(1.0)
            found = {(denied.verb, denied.resource, denied.why, denied.optional) for denied in exporter.denied()}
            assert {
                ("create", "replicationcontrollers", "create canaries", False),
                ("list", "nodes", "diagnosis: tell `no node is Ready` from `no room`", True),
            } == found

    play(test)


def test_loops_that_are_silent_are_named(play: Play) -> None:
    """After five minutes without any progress: watches and routines."""

    async def test(stage: Stage) -> None:
        async with working(stage) as exporter:
            virtual_loop().pass_time(301.0)
            expected = ("watch of pods", "watch of replicationcontrollers", "rcscheduler/rcscheduler")
            assert expected == exporter.silent()

    play(test)


def test_an_api_server_that_is_away_makes_no_loop_silent(play: Play) -> None:
    """Waiting for it is progress."""

    async def test(stage: Stage) -> None:
        stage.api.faults.append(refusing("list", "watch", by=UNREACHABLE))
        async with working(stage) as exporter:
            await asyncio.sleep(900.0)
            assert () == exporter.silent()

    play(test)


def test_start_measures_its_loop_and_exposes_the_process() -> None:
    """In a loop of its own; no `_created` series, and what Prometheus knows of every process."""

    async def main(word: str, *, process: Process, more: str) -> tuple[str, str]:
        await asyncio.sleep(0)
        return word + more, generate_latest(process.metrics.registry).decode()

    try:
        said, text = app.start(main, "a", more="b")
    finally:
        enable_created_metrics()  # type: ignore[no-untyped-call]
    assert "ab" == said
    assert "process_cpu_seconds_total" in text
    assert "_created{" not in text
    assert "\nkhealth_event_loop_busy_seconds_count 0.0" not in text


def test_every_process_has_a_word_of_its_own() -> None:
    """In every name that its run makes."""
    clock: Any = None
    metrics: Any = None
    words = {Process(clock, metrics).run for _ in range(50)}
    assert 50 == len(words)
    assert {8} == {len(word) for word in words}


def test_virtual_time_tells_a_deadlock() -> None:
    """The tests' own loop does not wait indefinitely for something that will not happen."""

    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run(waits())


def test_virtual_time_tells_a_livelock() -> None:
    """Nor does it spin indefinitely."""

    async def spins() -> None:
        while True:  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        run(spins())
