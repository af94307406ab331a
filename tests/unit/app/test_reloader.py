"""Reloading: what comes into force, what is refused and how often that is told, and what is noticed by itself."""

import asyncio
import functools
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes import Telemetered
from packages import package
from structlog.testing import capture_logs
from virtual_time import BEGINNING, EPOCH, aside, run, virtual_clock, virtual_loop

from khealth_exporter.app.exporter import background
from khealth_exporter.app.reload import PERIOD, READING, SETTLING, Aside, Load, Reloader, changes
from khealth_exporter.config import Bound, Config, load
from khealth_exporter.measure.daemon_thread import in_daemon_thread

NOTICED = PERIOD + SETTLING + 1.0
"""Seconds in which a change takes effect without anyone asking."""
BOUND = Bound("khealth", "khealth")
REFUSED = "configuration refused: the previous one stays active"
IN_FORCE = "configuration loaded"


def text(replicas: int | str) -> str:
    """Return a configuration that differs by one figure."""
    return f"modules: {{rcscheduler: {{rcscheduler: {{replicas: {replicas}}}}}}}\n"


@dataclass
class Desk:
    """A Reloader, and what it has put in force."""

    path: Path
    reloader: Reloader
    figures: Telemetered
    adopted: list[Config] = field(default_factory=list)

    def write(self, content: str) -> None:
        """Put another content in the file's place, at once."""
        new = self.path.with_suffix(".new")
        new.write_text(content)
        new.replace(self.path)

    @property
    def replicas(self) -> list[int]:
        """How many pods each configuration that came into force wants."""
        return [config.routines[0].settings.model_dump()["replicas"] for config in self.adopted]

    @property
    def told(self) -> tuple[float | None, float | None]:
        """What the metrics say: whether the last reload was successful, and when one was, in virtual seconds."""
        at = self.figures.value("khealth_config_last_reload_success_timestamp_seconds")
        return self.figures.value("khealth_config_last_reload_successful"), None if at is None else round(at - EPOCH, 3)


def desk(path: Path | None, *, loading: Load | None = None, beside: Aside = aside, **flags: Any) -> Desk:
    """Return a Reloader of a file, or of none, that has been loaded once."""
    figures = Telemetered(virtual_clock())
    loads: Load = loading or functools.partial(load, path, **flags)
    adopted: list[Config] = []
    config = load(path, **flags)
    figures.metrics.loaded(well=True)
    made = Reloader(config, loads, BOUND, adopted.append, figures.metrics, beside)
    return Desk(path or Path(), made, figures, adopted)


@asynccontextmanager
async def watching(path: Path) -> AsyncIterator[Desk]:
    """Look at a file until the block ends."""
    made = desk(path)
    async with background(made.reloader.run):
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a good configuration is."""
    path = tmp_path / "khealth.yaml"
    path.write_text(text(3))
    return path


def played(scenario: Callable[[], Any]) -> list[dict[str, Any]]:
    """Run a scenario in virtual time, and return what was logged."""
    with capture_logs() as logs:
        run(scenario())
    return [dict(entry) for entry in logs]


def test_a_good_file_comes_into_force(path: Path) -> None:
    """Nothing is wrong with it, and the metrics say so."""

    async def scenario() -> None:
        here = desk(path)
        here.write(text(4))
        await asyncio.sleep(10.0)
        assert () == await here.reloader.reload("request")
        assert ([4], (1.0, 10.05)) == (here.replicas, here.told)
        assert here.adopted == [here.reloader.config]

    played(scenario)


def test_a_package_that_cannot_be_imported_is_refused_and_loses_nothing(path: Path) -> None:
    """What ran goes on, and what comes into force later has nothing of it."""

    async def scenario() -> None:
        here = desk(path)
        here.write(f"{text(4)}  shop: {{}}\n".replace("modules: {", "modules:\n  ").replace("}}}", "}}"))
        with package(path.parent / "site", "raise OSError('no till')"):
            (told,) = await here.reloader.reload("request")
        assert "modules.shop: package shop-checks 1.2 cannot be imported: OSError: no till" in told
        assert ([], (0.0, 0.0)) == (here.replicas, here.told)
        here.write(text(5))
        assert () == await here.reloader.reload("request")
        assert [5] == here.replicas

    played(scenario)


def test_a_bad_file_is_refused_with_all_that_is_wrong(path: Path) -> None:
    """Every problem is returned and logged with its place; what was in force stays, and when it came is not touched."""

    async def scenario() -> None:
        here = desk(path)
        before = here.reloader.config
        here.write(f"namespace: other\n{text('three')}")
        await asyncio.sleep(10.0)
        assert (
            f"{path}:1:12: namespace: cannot change from 'khealth' to 'other' without a restart",
            f"{path}:2:49: modules.rcscheduler.rcscheduler.replicas: must be an integer, not the string 'three'",
        ) == await here.reloader.reload("request")
        assert ([], before, (0.0, 0.0)) == (here.adopted, here.reloader.config, here.told)

    assert [REFUSED] * 2 == [entry["event"] for entry in played(scenario) if entry["log_level"] == "error"]


def test_what_the_command_line_says_stays_in_force(path: Path) -> None:
    """Over whatever a new file says."""

    async def scenario() -> None:
        here = desk(path, pod_ttl=7.0, only=["rcscheduler"])
        here.write("modules: {rcscheduler: {rcscheduler: {pod_ttl: 9s, poll_interval: 1s}, b: {kind: rcscheduler}}}")
        assert () == await here.reloader.reload("request")
        holds = [(routine.label, routine.settings.hold) for routine in here.reloader.config.routines]
        assert [("rcscheduler", 7.0), ("b", 7.0)] == holds

    played(scenario)


def test_a_changed_file_is_noticed(path: Path) -> None:
    """Within the period, without anyone asking; the log says why."""

    async def scenario() -> None:
        async with watching(path) as here:
            here.write(text(4))
            await asyncio.sleep(NOTICED)
            assert [4] == here.replicas

    assert ["changed file"] == [entry["cause"] for entry in played(scenario) if entry["event"] == IN_FORCE]


def test_a_file_that_is_being_written_is_not_loaded(path: Path) -> None:
    """Two looks must see the same; what is half written, however valid, does not come into force."""

    async def scenario() -> None:
        async with watching(path) as here:
            await asyncio.sleep(PERIOD - 1.0)
            here.write("modules: {}\n")
            await asyncio.sleep(2.0)
            here.write(text(4))
            await asyncio.sleep(2 * NOTICED)
            assert [4] == here.replicas

    played(scenario)


def test_a_file_that_changes_while_it_is_loaded_is_looked_at_again(path: Path) -> None:
    """What two looks have seen is what comes into force, or nothing."""
    contents = iter([text(5), text(4)])

    def loading(*, bound: Bound | None = None) -> Config:
        content = next(contents, None)
        if content:
            path.write_text(content)
        return load(path, bound=bound)

    async def scenario() -> None:
        here = desk(path, loading=loading)
        here.write(text(4))
        async with background(here.reloader.run):
            await asyncio.sleep(NOTICED)
            first = list(here.replicas)
            await asyncio.sleep(3 * NOTICED)
        assert ([], [4]) == (first, here.replicas)

    played(scenario)


@pytest.mark.parametrize("content", ["", "\n", "# nothing\n", "---\n", "null", "\ufeff", "--- ~\n...\n"])
@pytest.mark.parametrize("cause", ["request", "changed file"])
def test_an_emptied_file_is_refused(path: Path, content: str, cause: str) -> None:
    """It would run the defaults, which nobody has asked for: a full disk, or an editor that died."""

    async def scenario() -> None:
        async with watching(path) as here:
            here.write(content)
            if cause == "request":
                await here.reloader.reload(cause)
            await asyncio.sleep(100.0)
            assert ([], 0.0) == (here.adopted, here.told[0])

    refused = [(entry["cause"], entry["problem"]) for entry in played(scenario)]
    assert [(cause, f"{path}: is empty: write {{}} to run the defaults")] == refused


def test_an_empty_mapping_runs_the_defaults(path: Path) -> None:
    """It does not come about by accident."""

    async def scenario() -> None:
        async with watching(path) as here:
            here.write("{}\n")
            await asyncio.sleep(NOTICED)
            assert [load(None).routines] == [config.routines for config in here.adopted]

    played(scenario)


def test_a_file_that_changed_between_its_loading_and_the_first_look_is_noticed(path: Path) -> None:
    """The first look compares with what was loaded, not with what it finds."""

    async def scenario() -> None:
        here = desk(path)
        here.write(text(4))
        async with background(here.reloader.run):
            await asyncio.sleep(NOTICED)
        assert [4] == here.replicas

    played(scenario)


def test_a_file_that_is_written_again_has_not_changed(path: Path) -> None:
    """Its content tells, neither its time nor its inode."""

    async def scenario() -> None:
        async with watching(path) as here:
            here.write(text(3))
            os.utime(path, (1, 1))
            await asyncio.sleep(100.0)
            assert [] == here.adopted

    assert [] == played(scenario)


def test_a_swap_like_the_kubelets_is_noticed(tmp_path: Path) -> None:
    """A ConfigMap's file is a link to one in a folder that is swapped by renaming another link."""

    def publish(version: str, replicas: int) -> None:
        folder = tmp_path / f"..{version}"
        folder.mkdir()
        (folder / "khealth.yaml").write_text(text(replicas))
        (tmp_path / "..data_tmp").symlink_to(folder.name)
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    async def scenario() -> None:
        publish("1", 3)
        (tmp_path / "khealth.yaml").symlink_to("..data/khealth.yaml")
        async with watching(tmp_path / "khealth.yaml") as here:
            publish("2", 4)
            await asyncio.sleep(NOTICED)
            assert [4] == here.replicas

    played(scenario)


def test_a_refused_content_is_told_once(path: Path) -> None:
    """Not every few seconds; another bad one is told again, and a good one comes into force."""

    async def scenario() -> None:
        async with watching(path) as here:
            for content in (text("three"), text("four"), text(4)):
                here.write(content)
                await asyncio.sleep(100.0)
            assert ([4], 1.0) == (here.replicas, here.told[0])

    logs = played(scenario)
    assert [REFUSED, REFUSED, IN_FORCE] == [entry["event"] for entry in logs]
    assert ["'three'", "'four'"] == [entry["problem"].split()[-1] for entry in logs[:2]]


def test_a_refused_file_that_becomes_what_it_was_is_in_force_again(path: Path) -> None:
    """Undoing the change in the file also clears the error."""

    async def scenario() -> None:
        async with watching(path) as here:
            here.write(text("three"))
            await asyncio.sleep(NOTICED)
            refused = here.told[0]
            here.write(text(3))
            await asyncio.sleep(NOTICED)
            assert ((0.0, 1.0), [3]) == ((refused, here.told[0]), here.replicas)

    played(scenario)


def test_a_file_that_vanishes_is_refused_once(path: Path) -> None:
    """What was in force stays; when the file is back, it is read again."""

    def away() -> None:
        path.rename(path.with_suffix(".away"))

    def back() -> None:
        path.with_suffix(".away").rename(path)

    async def scenario() -> None:
        async with watching(path) as here:
            away()
            await asyncio.sleep(100.0)
            gone = here.told[0], list(here.adopted)
            back()
            await asyncio.sleep(NOTICED)
            assert ((0.0, []), (1.0, [3])) == (gone, (here.told[0], here.replicas))

    refused = [entry for entry in played(scenario) if entry["event"] == REFUSED]
    assert [f"{path}: cannot be read: No such file or directory"] == [entry["problem"] for entry in refused]


def test_what_was_read_on_request_is_not_read_again(path: Path) -> None:
    """If it was accepted or refused, by any trigger."""

    async def scenario() -> None:
        async with watching(path) as here:
            for content in (text(4), text("three")):
                here.write(content)
                await here.reloader.reload("request")
                await asyncio.sleep(100.0)
            assert [4] == here.replicas

    assert ["request"] * 2 == [entry["cause"] for entry in played(scenario)]


def test_a_signal_has_it_read(path: Path) -> None:
    """The request gets the answer that the configuration is active, although nothing changed."""

    async def scenario() -> None:
        async with watching(path) as here:
            await asyncio.sleep(1.0)
            here.reloader.ask()
            await asyncio.sleep(1.0)
            assert ([3], (1.0, 1.05)) == (here.replicas, here.told)

    assert ["signal"] == [entry["cause"] for entry in played(scenario)]


def test_without_a_file_a_reload_succeeds_and_changes_nothing() -> None:
    """The defaults are read again; and nobody looks for what is not there."""

    async def scenario() -> None:
        here = desk(None)
        async with background(here.reloader.run):
            await asyncio.sleep(100.0)
            looked = list(here.adopted)
            here.reloader.ask()
            await asyncio.sleep(1.0)
            assert ([], [load(None)], 1.0) == (looked, here.adopted, here.told[0])

    played(scenario)


def test_what_cannot_be_loaded_again_says_so(path: Path) -> None:
    """A demo has a configuration of its own."""

    async def scenario() -> None:
        figures = Telemetered(virtual_clock())
        made = Reloader(load(path), None, BOUND, lambda _: None, figures.metrics, aside)
        expected = ("khealth has no configuration file to reload",)
        assert expected == await made.reload("request")

    played(scenario)


def test_a_pipe_is_not_read_a_second_time(tmp_path: Path) -> None:
    """`--config <(…)` is empty by now: its emptiness must not come into force, neither on request nor by itself."""
    pipe = tmp_path / "pipe"

    async def scenario() -> None:
        pipe.write_text(text(3))
        async with watching(pipe) as here:
            pipe.unlink()
            os.mkfifo(pipe)
            await asyncio.sleep(100.0)
            expected = (f"{pipe}: is no regular file: it cannot be read a second time",)
            assert (expected, []) == (await here.reloader.reload("request"), here.adopted)

    assert ["request"] == [entry["cause"] for entry in played(scenario)]


def test_nothing_comes_into_force_once_it_is_closed(path: Path) -> None:
    """While khealth is being stopped, on request and by itself; that is no fault of the configuration."""

    async def scenario() -> None:
        async with watching(path) as here:
            here.reloader.close()
            here.write(text("three"))
            await asyncio.sleep(100.0)
            expected = ("khealth is stopping: it does not reload the configuration",)
            assert (expected, (1.0, 0.0)) == (await here.reloader.reload("request"), here.told)

    assert [] == played(scenario)


def test_what_is_being_read_when_it_is_closed_does_not_come_into_force(path: Path) -> None:
    """The stop came first."""

    async def scenario() -> None:
        here = desk(path)
        here.write(text(4))
        virtual_loop().call_later(0.01, here.reloader.close)
        problems = await here.reloader.reload("request")
        assert (1, []) == (len(problems), here.adopted)

    played(scenario)


def test_one_reload_follows_another(path: Path) -> None:
    """A request in the meantime waits, and the last content that was read becomes active."""
    reading: list[int] = []
    most: list[int] = []

    def counted(call: Callable[[], Any], /) -> Any:
        reading.append(1)
        most.append(len(reading))
        future = aside(call)
        future.add_done_callback(lambda _: reading.pop())
        return future

    async def scenario() -> None:
        here = desk(path, beside=counted)
        async with background(here.reloader.run), asyncio.TaskGroup() as group:
            here.reloader.ask()
            for replicas in (4, 5, 6):
                here.write(text(replicas))
                group.create_task(here.reloader.reload("request"))
                await asyncio.sleep(0.02)
        assert (1, 6) == (max(most), here.replicas[-1])

    played(scenario)


def test_a_disk_that_hangs_keeps_nobody_waiting(path: Path) -> None:
    """It is refused after a minute, then at once, with one thread at most; once the disk is back all is well."""
    hanging: list[asyncio.Future[Any]] = []
    mended: list[bool] = []

    def hang(call: Callable[[], Any], /) -> Any:
        if mended:
            return aside(call)
        hanging.append(asyncio.get_running_loop().create_future())
        return hanging[-1]

    async def scenario() -> None:
        here = desk(path, beside=hang)
        expected = (f"{path}: was not read within 60 s",)
        assert (expected, READING) == (await here.reloader.reload("request"), virtual_loop().time() - BEGINNING)
        assert (expected, READING) == (await here.reloader.reload("request"), virtual_loop().time() - BEGINNING)
        async with background(here.reloader.run):
            await asyncio.sleep(100.0)
            assert (1, 0.0) == (len(hanging), here.told[0])
        mended.append(True)
        hanging[0].set_exception(OSError("input/output error"))
        assert () == await here.reloader.reload("request")

    played(scenario)


def test_what_a_disk_that_hung_held_back_is_taken_up_when_it_is_back(path: Path) -> None:
    """Without anyone asking: what was given up had not been read."""
    late: list[tuple[asyncio.Future[Any], Callable[[], Any]]] = []

    def hang(call: Callable[[], Any], /) -> Any:
        if late:
            return aside(call)
        late.append((asyncio.get_running_loop().create_future(), call))
        return late[0][0]

    async def scenario() -> None:
        here = desk(path, beside=hang)
        here.write(text(4))
        assert (f"{path}: was not read within 60 s",) == await here.reloader.reload("request")
        future, call = late[0]
        future.set_result(call())
        async with background(here.reloader.run):
            await asyncio.sleep(NOTICED)
        assert [4] == here.replicas

    played(scenario)


def test_a_bug_in_reading_is_loud_and_ends_nothing(path: Path) -> None:
    """The request is answered, the old configuration stays, and the file is looked at on."""

    def broken(*, bound: Bound | None = None) -> Config:
        if path.read_text() != text(4):
            raise ValueError("a bug")
        return load(path, bound=bound)

    async def scenario() -> None:
        here = desk(path, loading=broken)
        expected = ("internal error: ValueError: a bug",)
        assert (expected, []) == (await here.reloader.reload("request"), here.adopted)
        async with background(here.reloader.run):
            here.write(text(4))
            await asyncio.sleep(NOTICED)
        assert [4] == here.replicas

    loud = [str(entry["exc_info"]) for entry in played(scenario) if "exc_info" in entry]
    assert ["a bug"] == loud


async def test_it_is_read_in_a_thread() -> None:
    """The event loop goes on meanwhile."""
    began, ended = threading.Event(), threading.Event()

    def waits() -> int:
        began.set()
        assert ended.wait(60.0)
        return threading.get_ident()

    reading = in_daemon_thread(waits)
    while not began.is_set():  # noqa: ASYNC110 - it is another thread that sets it
        await asyncio.sleep(0)
    ended.set()
    assert await reading != threading.get_ident()


def test_the_log_says_what_changes(tmp_path: Path) -> None:
    """By module and name: what is new, gone, other, suspended and resumed; nothing of what stays."""

    def configured(modules: str) -> Config:
        file = tmp_path / "khealth.yaml"
        file.write_text(f"modules: {{rcscheduler: {modules}}}")
        return load(file)

    kind = "kind: rcscheduler"
    before = configured(
        f"{{stays: {{{kind}}}, other: {{{kind}}}, gone: {{{kind}}}, rests: {{{kind}}}, wakes: {{{kind}, suspend: true}}}}"
    )
    now = configured(
        f"{{stays: {{{kind}}}, other: {{{kind}, replicas: 9}}, new: {{{kind}}}, "
        f"rests: {{{kind}, suspend: true}}, wakes: {{{kind}}}}}"
    )
    expected = {
        "removed": ["rcscheduler/gone"],
        "changed": ["rcscheduler/other"],
        "added": ["rcscheduler/new"],
        "suspended": ["rcscheduler/rests"],
        "resumed": ["rcscheduler/wakes"],
    }
    assert (expected, {}) == (changes(before, now, 0.0), changes(now, now, 0.0))
