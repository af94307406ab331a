"""What a watch shows, whatever its server does."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from fakes import (
    FORBIDDEN,
    GONE,
    TIMEOUT,
    UNAVAILABLE,
    UNREACHABLE,
    Asked,
    FakeApi,
    Telemetered,
    line,
    refusal,
    refusing,
)
from hypothesis import example, given
from hypothesis import strategies as st
from virtual_time import BEGINNING, EPOCH, run, virtual, virtual_clock, virtual_loop
from watching import bookmarks, pod, settle, versioned, watching

from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.cluster.watch.watch import CAUSES, LIFETIME
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.reason import Reason

SELECTOR = "app.kubernetes.io/managed-by=khealth"


PATH = "/api/v1/namespaces/khealth/pods"


@virtual
async def test_the_set_is_listed_page_by_page() -> None:
    """All pages of the list are taken, each asked for with the token of the last."""
    api = FakeApi(virtual_clock(), page=2)
    for name in "abcde":
        api.put("pods", pod(name))
    async with watching(api) as seen:
        await api.opened()
        assert [None, "2", "4"] == [asked.query.get("continue") for asked in api.named("list")]
        assert list("abcde") == sorted(item.name for item in seen.watch.objects.values())


@virtual
async def test_only_what_khealth_made_is_asked_for() -> None:
    """List and watch are label-selected, bookmarks are on, and the stream's life is told to the server."""
    async with watching() as seen:
        await seen.api.opened()
        (listed,), (watched,) = seen.api.named("list"), seen.api.named("watch")
        assert {"labelSelector": SELECTOR, "limit": "500"} == listed.query
        lifetime = int(watched.query["timeoutSeconds"])
        assert LIFETIME[0] <= lifetime <= LIFETIME[1]
        assert (SELECTOR, "true", "100") == tuple(
            watched.query[key] for key in ("labelSelector", "allowWatchBookmarks", "resourceVersion")
        )


@virtual
async def test_it_is_live_once_a_stream_is_open() -> None:
    """Listing alone does not make it live; it says so as soon as it is."""
    async with watching() as seen:
        before = seen.watch.live
        await seen.api.opened()
        await settle()
        assert (False, True) == (before, seen.watch.live)


@virtual
async def test_lines_are_told_and_kept() -> None:
    """ADDED, MODIFIED and DELETED change the live set, and are told in their order."""
    async with watching() as seen:
        await seen.api.opened()
        seen.api.put("pods", pod("a"))
        seen.api.put("pods", pod("b"))
        seen.api.put("pods", pod("a"))
        seen.api.remove("pods", "b")
        await settle()
        assert [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")] == seen.told()
        assert ["a"] == [item.name for item in seen.watch.objects.values()]


@virtual
async def test_known_objects_are_counted() -> None:
    """`khealth_objects` follows the live set."""
    async with watching() as seen:
        await seen.api.opened()
        seen.api.put("pods", pod("a"))
        seen.api.put("pods", pod("b"))
        await settle()
        assert 2 == seen.figures.value("khealth_objects", kind="Pod")


@virtual
async def test_a_stream_that_was_cut_is_resumed_from_the_last_version() -> None:
    """No new list: what happened meanwhile comes with the new stream, once."""
    async with watching() as seen:
        await seen.api.opened()
        seen.api.put("pods", pod("a"))
        await settle()
        seen.api.cut()
        seen.api.put("pods", pod("b"))
        second = await seen.api.opened()
        await settle()
        assert "101" == second.version
        assert [("ADDED", "a"), ("ADDED", "b")] == seen.told()
        assert (1, 0) == (len(seen.api.named("list")), seen.watch.gaps)


@virtual
async def test_bookmarks_advance_the_version() -> None:
    """After a bookmark, a stream is resumed from there; the bookmark itself is no line."""
    async with watching() as seen:
        stream = await seen.api.opened()
        stream.say("BOOKMARK", {"metadata": {"resourceVersion": "250"}})
        await settle()
        stream.end()
        assert "250" == (await seen.api.opened()).version
        assert [] == seen.told()


@pytest.mark.parametrize(
    ("cause", "end"),
    [
        ("ended", b""),
        ("api_unreachable", UNREACHABLE),
        ("api_timeout", TIMEOUT),
        ("api_error", UNAVAILABLE),
        ("forbidden", FORBIDDEN),
    ],
)
def test_a_broken_stream_is_counted_by_its_cause(cause: str, end: Any) -> None:
    """An end and a broken connection are told apart, and resumed without a new list."""

    async def scenario() -> None:
        async with watching() as seen:
            (await seen.api.opened()).end(end)
            await seen.api.opened()
            assert {cause: 1} == seen.causes
            assert 1 == len(seen.api.named("list"))

    run(scenario())


def test_every_cause_stands_at_zero_from_the_start() -> None:
    """The causes of the metric are known beforehand."""
    figures = Telemetered(Clock())
    assert {0.0} == {figures.value("khealth_watch_restarts_total", cause=cause) for cause in CAUSES}


GARBLED = [
    b"<html>502 Bad Gateway</html>\n",
    b'{"type":"ADDED","object":{"metadata":\n',
    b'{"type":null,"object":{}}\n',
    b"[]\n",
    b"5\n",
    b'{"type":"ADDED","object":{"metadata":{"name":"\xff"}}}\n',
    b'{"type":"\xff\xfe","object":{}}\n',
    b'{"type":"ADDED","object":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}\n",
    b'{"type":"ERROR","object":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    b"x" * (9 << 20),
]


@pytest.mark.parametrize("garbage", GARBLED, ids=lambda garbage: repr(garbage[:40]))
def test_after_a_garbled_line_only_a_new_list_is_trusted(garbage: bytes) -> None:
    """What cannot be read ends the stream; the set is listed again, and the gap is counted."""

    async def scenario() -> None:
        async with watching() as seen:
            (await seen.api.opened()).feed(garbage)
            await seen.api.opened()
            assert 1 == sum(seen.causes.values())
            assert set(seen.causes) <= {"garbled", "error"}
            assert (2, 1) == (len(seen.api.named("list")), seen.watch.gaps)

    run(scenario())


@pytest.mark.parametrize(
    ("code", "cause"), [(410, "expired"), (500, "error"), (504, "error")], ids=["expired", "internal", "timeout"]
)
def test_after_an_error_line_only_a_new_list_is_trusted(code: int, cause: str) -> None:
    """An ERROR line ends the stream whatever its code; 410 is counted as expired."""

    async def scenario() -> None:
        async with watching() as seen:
            status = {"kind": "Status", "code": code, "message": "too old resource version", "reason": "Expired"}
            (await seen.api.opened()).say("ERROR", status)
            await seen.api.opened()
            assert {cause: 1} == seen.causes
            assert 2 == len(seen.api.named("list"))

    run(scenario())


@virtual
async def test_lines_before_a_garbled_one_are_told() -> None:
    """What arrived whole is not lost with what follows it."""
    async with watching() as seen:
        (await seen.api.opened()).feed(line("ADDED", versioned("a", 101)) + b"garbage\n")
        await settle()
        assert ("ADDED", "a") in seen.told()


@virtual
async def test_a_version_that_is_too_old_to_resume_from_makes_a_new_list() -> None:
    """410 on opening: relist, counted once, as expired."""
    async with watching() as seen:
        stream = await seen.api.opened()
        seen.api.put("pods", pod("a"))
        seen.api.compact()
        await settle()
        seen.api.version += 50
        seen.api.compact()
        stream.end()
        second = await seen.api.opened()
        assert {"ended": 1, "expired": 1} == seen.causes
        assert "151" == second.version


@virtual
async def test_a_list_whose_page_expired_starts_again() -> None:
    """A continue token may expire between two pages: the list is taken from its beginning."""
    api = FakeApi(virtual_clock(), page=2)
    for name in "abc":
        api.put("pods", pod(name))
    expired: list[Any] = []

    async def once(asked: Asked) -> Refusal | None:
        if "continue" in asked.query and not expired:
            expired.append(asked)
            return GONE
        return None

    api.faults.append(once)
    async with watching(api) as seen:
        await api.opened()
        assert {"expired": 1} == seen.causes
        assert [None, "2", None, "2"] == [asked.query.get("continue") for asked in api.named("list")]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b'{"items":5}', b'{"items":[{"metadata":{"name":"\xff"}}]}', b'{"metadata":"\xff"}',
        b'{"items":[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", b'{"items":[{"metadata":{"generation":1e400}}]}',
    ],
    ids=lambda body: repr(body[:40]),
)  # fmt: skip
def test_a_list_that_cannot_be_read_is_taken_again(body: bytes) -> None:
    """A garbled list is counted, and does not end the watch."""

    async def scenario() -> None:
        api = FakeApi(virtual_clock())

        async def garbled(asked: Asked) -> Answer | None:
            return api.answer(asked, body) if asked.verb == "list" and len(api.asked) == 1 else None

        api.faults.append(garbled)
        async with watching(api) as seen:
            await api.opened()
            assert {"garbled": 1} == seen.causes

    run(scenario())


@virtual
async def test_a_page_instead_of_a_list_is_told_as_what_it_is() -> None:
    """An access proxy asks people to log in: that is no answer of the API server, and who waits is told."""
    api = FakeApi(virtual_clock())

    async def page(asked: Asked) -> Answer | None:
        return api.answer(asked, b"<html>Sign in</html>") if asked.verb == "list" else None

    api.faults.append(page)
    async with watching(api) as seen:
        await asyncio.sleep(1.0)
        assert {"proxy_error"} == set(seen.causes)
        assert seen.watch.trouble is not None
        assert "something between khealth and the API server: HTTP 200: Sign in" in seen.watch.trouble.note


@virtual
async def test_a_list_with_absurd_items_is_taken() -> None:
    """Items that are no objects, or have fields of the wrong type, do not hide the others."""
    api = FakeApi(virtual_clock())
    items: list[Any] = [
        None,
        5,
        "x",
        [],
        {},
        {"metadata": None},
        {"metadata": {"name": 5, "labels": 7}},
        versioned("a", 90),
    ]

    async def absurd(asked: Asked) -> Answer | None:
        body = {"metadata": {"resourceVersion": "100"}, "items": items}
        return api.answer(asked, body) if asked.verb == "list" else None

    api.faults.append(absurd)
    async with watching(api) as seen:
        await api.opened()
        assert "a" in [item.name for item in seen.watch.objects.values()]
        assert {} == seen.causes


@virtual
async def test_what_has_come_ends_a_silence_though_it_was_not_handed_on() -> None:
    """Khealth did not run, for example, while the server went on speaking."""
    async with watching() as seen:
        stream = await seen.api.opened()
        await asyncio.sleep(74.9)
        stream.hold("ADDED", versioned("a", 10_000))
        await asyncio.sleep(60.0)
        assert ([("ADDED", "a")], {}) == (seen.told(), seen.causes)


@virtual
async def test_silence_ends_a_watch() -> None:
    """75 s without a byte: the watch is dead, and relisted rather than resumed."""
    async with watching() as seen:
        await seen.api.opened()
        opened = seen.clock.now()
        await asyncio.sleep(74.9)
        before = seen.causes
        await seen.api.opened()
        assert ({}, {"silent": 1}) == (before, seen.causes)
        assert opened + 75.0 == pytest.approx(seen.api.named("list")[1].at)
        assert 1 == seen.watch.gaps


@virtual
async def test_a_byte_is_a_sign_of_life() -> None:
    """Bookmarks every 60 s keep a watch alive that has nothing else to say."""
    async with watching() as seen:
        stream = await seen.api.opened()
        for _ in range(3):
            await asyncio.sleep(60.0)
            stream.say("BOOKMARK", {"metadata": {"resourceVersion": "100"}})
        await asyncio.sleep(20.0)
        assert {} == seen.causes


@virtual
async def test_what_went_in_a_gap_is_told_as_deleted_after_the_list() -> None:
    """An object that a new list does not have any more is gone; the line is recovered."""
    async with watching() as seen:
        stream = await seen.api.opened()
        seen.api.put("pods", pod("a"))
        seen.api.put("pods", pod("b"))
        await settle()
        seen.drain()
        stream.say("ERROR", {"code": 410})
        await settle()
        seen.api.remove("pods", "a")
        seen.api.put("pods", pod("c"))
        await seen.api.opened()
        assert [("DELETED", "a"), ("ADDED", "c")] == seen.told()
        assert all(told.recovered for told in seen.lines[-2:])


@virtual
async def test_a_list_tells_only_what_has_changed() -> None:
    """After a new list, objects that stayed as they were make no line; changed ones are MODIFIED."""
    async with watching() as seen:
        stream = await seen.api.opened()
        seen.api.put("pods", pod("a"))
        seen.api.put("pods", pod("b"))
        await settle()
        seen.drain()
        stream.say("ERROR", {"code": 410})
        await settle()
        seen.api.put("pods", pod("b"))
        await seen.api.opened()
        assert [("MODIFIED", "b")] == seen.told()


@virtual
async def test_the_delay_of_a_listed_line_goes_back_to_the_last_sign_of_life() -> None:
    """What a list brings after a silence may have happened any time since the last byte."""
    async with watching() as seen:
        stream = await seen.api.opened()
        await asyncio.sleep(10.0)
        stream.say("BOOKMARK", {"metadata": {"resourceVersion": "100"}})
        await settle()
        heard = seen.clock.now()
        seen.api.streams[0].asked.query["labelSelector"] = "nothing=matches"  # type: ignore[index]
        seen.api.put("pods", pod("a"))
        await seen.api.opened()
        (told,) = seen.drain()
        assert told.recovered
        assert told.delay == pytest.approx(told.at - heard, abs=0.01)


@virtual
async def test_the_first_batch_after_a_reconnect_is_recovered() -> None:
    """Lines in the first second of a resumed stream may be old news, by as much as the stream was silent."""
    async with watching() as seen:
        stream = await seen.api.opened()
        await asyncio.sleep(2.0)
        stream.say("ADDED", versioned("a", 101))
        await asyncio.sleep(30.0)
        stream.end()
        second = await seen.api.opened()
        second.say("ADDED", versioned("b", 102))
        await settle()
        before, after = seen.drain()
        assert (False, 0.0) == (before.recovered, before.delay)
        assert (True, after.at - before.at) == (after.recovered, after.delay)


@virtual
async def test_a_line_a_while_after_a_reconnect_is_fresh() -> None:
    """A second after a stream was resumed, what it says is news again."""
    async with watching() as seen:
        await asyncio.sleep(10.0)
        (await seen.api.opened()).end()
        second = await seen.api.opened()
        await asyncio.sleep(1.5)
        second.say("ADDED", versioned("b", 102))
        await settle()
        (told,) = seen.drain()
        assert (False, 0.0) == (told.recovered, told.delay)


@virtual
async def test_a_line_knows_how_long_the_loop_kept_it_waiting() -> None:
    """The delay is the time since the event loop was last idle."""
    clock = virtual_clock()

    class Busy:
        idle_until = 0.0

    busy = Busy()
    clock.follow(lambda: busy.idle_until)
    async with watching(clock=clock) as seen:
        stream = await seen.api.opened()
        await asyncio.sleep(5.0)
        busy.idle_until = clock.now()
        virtual_loop().pass_time(0.25)
        stream.say("ADDED", versioned("a", 101))
        await settle()
        (told,) = seen.drain()
        assert 0.25 == told.delay


def test_trouble_is_known_until_the_watch_is_live() -> None:
    """While it is refused, `trouble` says why; once a stream is open, nothing."""

    async def scenario() -> None:
        api = FakeApi(virtual_clock())
        api.faults.append(refusing("list", by=FORBIDDEN))
        async with watching(api) as seen:
            await asyncio.sleep(1.0)
            refused = seen.watch.trouble
            assert refused is not None
            assert (False, Reason.FORBIDDEN) == (seen.watch.live, refused.reason)
            api.faults.clear()
            await api.opened()
            await settle()
            assert (True, None) == (seen.watch.live, seen.watch.trouble)

    run(scenario())


@pytest.mark.parametrize("verb", ["list", "watch"])
@pytest.mark.parametrize("why", [FORBIDDEN, UNREACHABLE, UNAVAILABLE, GONE], ids=lambda why: why.reason)
@pytest.mark.parametrize("latency", [0.0, 0.01])
def test_whoever_is_refused_waits_before_asking_again(verb: str, why: Refusal, latency: float) -> None:
    """An API server that refuses at once is asked every few seconds, however long that lasts."""

    async def scenario() -> None:
        api = FakeApi(virtual_clock(), latency=latency)
        api.faults.append(refusing(verb, by=why))
        async with watching(api):
            await asyncio.sleep(60.0)
        times = [asked.at for asked in api.asked if asked.verb == verb]
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert min(pauses) >= 0.05
        assert max(pauses) <= 5.0 + 2 * latency + 1e-6
        assert max(pauses[-5:]) >= 2.5

    run(scenario())


@virtual
async def test_an_outage_after_a_long_life_is_not_met_with_a_storm() -> None:
    """A watch that had lived is opened again at once; while that is refused, it waits as any other."""
    async with watching() as seen:
        stream = await seen.api.opened()
        await asyncio.sleep(60.0)
        seen.api.faults.append(refusing("watch", by=UNREACHABLE))
        stream.end()
        await asyncio.sleep(60.0)
        assert len(seen.api.named("watch")) < 60


@virtual
async def test_a_stream_that_had_lived_is_opened_again_at_once() -> None:
    """An API server that restarts, or a balancer that cuts, costs no pause."""
    async with watching() as seen:
        stream = await seen.api.opened()
        await asyncio.sleep(30.0)
        cut = seen.clock.now()
        stream.end()
        assert cut == pytest.approx((await seen.api.opened()).asked.at, abs=0.001)


@virtual
async def test_a_stream_that_breaks_at_once_is_not_reopened_in_a_storm() -> None:
    """A server that accepts every watch and ends it is not hammered."""
    async with watching() as seen:
        for _ in range(12):
            (await seen.api.opened()).end()
        times = [asked.at for asked in seen.api.named("watch")]
        assert times[-1] - times[-2] >= 2.0


def test_pauses_are_jittered() -> None:
    """Two watches that are refused together do not ask again together."""

    async def pauses(seed: int) -> list[float]:
        api = FakeApi(virtual_clock())
        api.faults.append(refusing("list", by=FORBIDDEN))
        async with watching(api, seed=seed):
            await asyncio.sleep(30.0)
        return [asked.at for asked in api.named("list")][1:]

    assert not set(run(pauses(1))) & set(run(pauses(2)))


@given(
    names=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
    blank=st.booleans(),
)
def test_lines_may_be_split_at_any_byte(names: Sequence[str], cuts: Sequence[int], blank: bool) -> None:
    """However lines are cut into chunks: all are told, stamped with the time of the chunk that completes them."""
    texts = [line("MODIFIED", versioned(name + "ä€😀", 101 + n)) for n, name in enumerate(names)]
    data = (b"\n" if blank else b"").join(texts)
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    chunks = [data[begin:end] for begin, end in itertools.pairwise(places)]

    async def scenario() -> None:
        async with watching() as seen:
            stream = await seen.api.opened()
            arrivals = []
            for chunk in chunks:
                await asyncio.sleep(2.0)
                arrivals += [seen.clock.now()] * (chunk.count(b"}}\n") if not blank else 0)
                stream.feed(chunk)
                await asyncio.sleep(0)
            await settle()
            told = seen.drain()
            assert [name + "ä€😀" for name in names] == [item.object.name for item in told]
            ends = [data.index(text) + len(text) for text in texts] if len(set(texts)) == len(texts) else []
            expected = [BEGINNING + first_at(places, end) for end in ends]
            origin = stream.asked.at - BEGINNING + seen.api.latency
            assert [at + origin for at in expected] == pytest.approx([item.at for item in told])

    run(scenario())


def first_at(places: Sequence[int], end: int) -> float:
    """Return after how long the chunk arrives that holds the last byte of a line."""
    return 2.0 * next(number for number, place in enumerate(places) if place >= end)


ABSURD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "status", "name", "uid", "labels", "resourceVersion"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "", "NEW"]), ABSURD)
@example("ADDED", {"metadata": {"resourceVersion": "9" * 5000}})
@example("ADDED", {"metadata": {"resourceVersion": "١٢٣٤"}})
@example("ADDED", {"metadata": {"resourceVersion": "²"}})
@example("BOOKMARK", {"metadata": {"resourceVersion": -5}})
def test_absurd_objects_do_not_end_a_watch(kind: str, item: Any) -> None:
    """Whatever JSON a line holds: the watch goes on, and the next line is told, at the latest after a new list."""

    async def scenario() -> None:
        async with watching() as seen:
            (await seen.api.opened()).feed(json.dumps({"type": kind, "object": item}).encode() + b"\n")
            await asyncio.sleep(1.0)
            seen.api.version = 10**6
            seen.api.put("pods", pod("well"))
            seen.api.cut()
            await asyncio.sleep(200.0)
            assert "well" in [known.name for known in seen.watch.objects.values()]

    run(scenario())


@virtual
async def test_a_line_without_a_version_does_not_move_the_place_to_resume_from() -> None:
    """Otherwise what is deleted meanwhile would never be told."""
    async with watching() as seen:
        stream = await seen.api.opened()
        seen.api.put("pods", pod("a"))
        stream.say("ADDED", {"metadata": {"name": "b", "uid": "b"}})
        await settle()
        stream.end()
        assert "101" == (await seen.api.opened()).version


@virtual
async def test_a_version_that_the_server_rejects_makes_a_new_list() -> None:
    """One that is none (400) would always be rejected."""
    async with watching() as seen:
        stream = await seen.api.opened()
        stream.say("BOOKMARK", {"metadata": {"resourceVersion": "nonsense"}})

        async def rejecting(asked: Asked) -> Refusal | None:
            return (
                refusal(400, "invalid resource version") if asked.query.get("resourceVersion") == "nonsense" else None
            )

        seen.api.faults.append(rejecting)
        await settle()
        stream.end()
        assert "100" == (await seen.api.opened()).version


@virtual
async def test_the_servers_clock_is_known_from_the_list() -> None:
    """How far it is ahead of ours comes from the answer's Date."""
    api = FakeApi(virtual_clock(), ahead=123.0)
    async with watching(api) as seen:
        await api.opened()
        clock = virtual_clock()
        assert clock.utc() - clock.now() + 123.0 == pytest.approx(seen.watch.server_epoch, abs=1.0)


@virtual
async def test_waiting_for_a_server_that_is_away_is_progress() -> None:
    """A watch that is refused for ten minutes has moved on all the time."""
    api = FakeApi(virtual_clock())
    api.faults.append(refusing("list", by=UNREACHABLE))
    async with watching(api) as seen:
        await asyncio.sleep(600.0)
        assert seen.clock.now() - seen.watch.progressed <= 5.0


@virtual
async def test_an_open_stream_makes_progress_with_its_bookmarks() -> None:
    """A watch that has nothing to tell is not silent."""
    async with watching() as seen:
        await seen.api.opened()
        keep = asyncio.create_task(bookmarks(seen.api))
        await asyncio.sleep(650.0)
        keep.cancel()
        assert seen.clock.now() - seen.watch.progressed <= 60.0


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["put", "put", "put", "remove", "cut", "break", "compact", "bookmark", "refuse", "mend", "hush"]
        ),
        st.sampled_from("abc"),
        st.sampled_from([0.0, 0.003, 0.5, 2.0, 30.0, 80.0]),
    ),
    max_size=25,
)


@given(EVENTS)
def test_in_the_end_the_set_is_what_the_server_has(events: list[tuple[str, str, float]]) -> None:
    """After any sequence of changes, cuts, refusals and silences, the watch catches up; each object's lines make sense."""

    async def scenario() -> None:
        async with watching() as seen:
            for what, name, pause in events:
                await asyncio.sleep(pause)
                disturb(seen.api, what, name)
            seen.api.faults.clear()
            await asyncio.sleep(90.0)
            expected = {name: item["metadata"]["uid"] for name, item in seen.api.objects.get("pods", {}).items()}
            assert expected == {item.name: uid for uid, item in seen.watch.objects.items()}
            seen.drain()
            for uid in {told.object.uid for told in seen.lines}:
                types = [told.type for told in seen.lines if told.object.uid == uid]
                assert {"ADDED"} == {types[0]}
                assert set(types[1:-1]) <= {"MODIFIED"}
                assert ("DELETED" == types[-1]) == (uid not in seen.watch.objects)

    run(scenario())


def disturb(api: FakeApi, what: str, name: str) -> None:  # noqa: C901 - one case each
    """Let something happen to a server."""
    match what:
        case "put":
            api.put("pods", pod(name))
        case "remove" if name in api.objects.get("pods", {}):
            api.remove("pods", name)
        case "cut":
            api.cut()
        case "break":
            api.cut(UNREACHABLE)
        case "compact":
            api.compact()
        case "bookmark":
            api.bookmark()
        case "refuse":
            api.faults.append(refusing("list", "watch", by=UNAVAILABLE))
        case "mend":
            api.faults.clear()
        case "hush":
            for stream in api.open_streams():
                stream.hushed = True
        case _:
            pass


def test_virtual_time_begins_where_it_says() -> None:
    """The tests' own clock: its monotonic and its UTC beginning belong together."""

    async def utc() -> float:
        return virtual_clock().utc(BEGINNING)

    assert EPOCH == run(utc())
