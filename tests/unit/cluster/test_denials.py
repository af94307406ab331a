"""What khealth may not do: kept while it is so, and told once when it begins and once when it ends."""

from typing import Any

import pytest
from fakes import FORBIDDEN, TIMEOUT, UNAVAILABLE, UNREACHABLE, refusal
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from khealth_exporter.cluster.client.denied_permissions import Denials
from khealth_exporter.cluster.client.request import namespace_of
from khealth_exporter.cluster.errors import Refusal, no_credentials
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.permission import Denied, Permission

LIST = ("list", "pods", "khealth")
DONE = "whatever was asked for"
QUOTA = refusal(403, 'pods "x" is forbidden: exceeded quota: none, requested: pods=1', "Forbidden")
MISSING = refusal(404, 'pods "x" not found', "NotFound")
UNKNOWN = refusal(401, "Unauthorized", "Unauthorized")
BUSY = refusal(429, "Too many requests, please try again later.")
SAYS_NOTHING: tuple[Refusal, ...] = (UNKNOWN, BUSY, UNAVAILABLE, UNREACHABLE, TIMEOUT)
"""Refusals that come before anyone has looked at rights, or from nobody who has."""
PERMITTED = (DONE, QUOTA, MISSING)


class Told:
    """Denials at a time that a test sets."""

    def __init__(self) -> None:
        self.at = 100.0
        self.denials = Denials(Clock(lambda: self.at, lambda: self.at))

    def take(self, outcome: object, key: tuple[str, str, str] = LIST) -> list[Any]:
        """Take in what became of a request, and return what is logged of it."""
        with capture_logs() as logs:
            self.denials.take(*key, outcome)
        return [(log["log_level"], log["event"].partition(":")[0]) for log in logs]


@pytest.fixture
def told() -> Told:
    return Told()


def test_nothing_is_denied_before_it_is_refused(told: Told) -> None:
    """What is done is no entry."""
    assert ([], ()) == (told.take(DONE), told.denials.now())


def test_a_right_that_is_lacking_is_kept_with_what_it_is_for(told: Told) -> None:
    """Since when, refused last when, why it is needed, and the API server's own words."""
    told.denials.know([Permission("list", "pods", why="see the canaries' way")])
    told.take(FORBIDDEN)
    told.at = 160.0
    told.take(FORBIDDEN)
    (found,) = told.denials.now()
    assert Denied(*LIST, 100.0, 160.0, optional=False, why="see the canaries' way", note=FORBIDDEN.note) == found


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (("create", "replicationcontrollers", "khealth"), "create replicationcontrollers in namespace khealth"),
        (("list", "nodes", ""), "list nodes at the cluster scope"),
    ],
)
def test_it_is_told_in_the_words_of_rbac(told: Told, key: tuple[str, str, str], sentence: str) -> None:
    """Verb, resource, and where; once when it begins, and once when it ends."""
    logs = [told.take(outcome, key) for outcome in (FORBIDDEN, FORBIDDEN, FORBIDDEN, DONE, DONE)]
    begun, ended = ("error", f"khealth may not {sentence}"), ("warning", f"khealth may {sentence} again")
    assert [[begun], [], [], [ended], []] == logs


def test_an_optional_right_is_a_warning(told: Told) -> None:
    """It goes on without."""
    told.denials.know([Permission("list", "events", optional=True, why="evidence")])
    logs = told.take(FORBIDDEN, ("list", "events", "khealth"))
    (found,) = told.denials.now()
    assert ([("warning", "khealth may not list events in namespace khealth")], True) == (logs, found.optional)


def test_a_right_that_somebody_needs_is_not_optional(told: Told) -> None:
    """However many others can do without; all that it is for is told."""
    told.denials.know([Permission("delete", "pods", optional=True, why="b"), Permission("delete", "pods", why="a")])
    told.take(FORBIDDEN, ("delete", "pods", "khealth"))
    (found,) = told.denials.now()
    assert (False, "a; b") == (found.optional, found.why)


def test_a_right_in_the_canaries_namespace_is_needed_nowhere_else(told: Told) -> None:
    """What may be left out elsewhere is optional there, although the same verb is needed at home."""
    told.denials.home = "khealth"
    told.denials.know([Permission("get", "services", why="canaries")])
    told.denials.know([Permission("get", "services", scope="cluster", optional=True, why="DNS")])
    for namespace in ("khealth", "kube-system"):
        told.take(FORBIDDEN, ("get", "services", namespace))
    found = {denied.namespace: (denied.optional, denied.why) for denied in told.denials.now()}
    assert {"khealth": (False, "DNS; canaries"), "kube-system": (True, "DNS")} == found


@pytest.mark.parametrize("outcome", PERMITTED)
def test_whatever_comes_after_authorization_shows_that_the_right_is_there(told: Told, outcome: object) -> None:
    """Done, no such object, or a quota: each time khealth was let in."""
    told.take(FORBIDDEN)
    told.take(outcome)
    assert ((), False) == (told.denials.now(), told.denials.holds("list", "pods"))


@pytest.mark.parametrize("outcome", SAYS_NOTHING, ids=lambda outcome: outcome.note)
def test_what_never_came_to_authorization_shows_nothing(told: Told, outcome: Refusal) -> None:
    """Neither that a right is there nor that it is lacking."""
    before = told.take(outcome), told.denials.now()
    told.take(FORBIDDEN)
    told.take(outcome)
    assert (([], ()), True) == (before, told.denials.holds("list", "pods"))


KEYS = st.tuples(st.sampled_from(["list", "watch"]), st.sampled_from(["pods", "nodes"]), st.sampled_from(["", "a"]))
OUTCOMES = st.sampled_from([FORBIDDEN, *PERMITTED, *SAYS_NOTHING])


@given(st.lists(st.tuples(KEYS, OUTCOMES)))
def test_what_was_said_last_counts(script: list[tuple[tuple[str, str, str], object]]) -> None:
    """Of each verb on each resource apart, whatever was asked in between; and nothing else is ever kept."""
    told, last = Told(), dict[tuple[str, str, str], object]()
    for key, outcome in script:
        told.take(outcome, key)
        if outcome not in SAYS_NOTHING:
            last[key] = outcome
    expected = {key for key, outcome in last.items() if outcome is FORBIDDEN}
    assert expected == {(found.verb, found.resource, found.namespace) for found in told.denials.now()}


@pytest.mark.parametrize(
    ("path", "namespace"),
    [
        ("/api/v1/namespaces/khealth/pods", "khealth"),
        ("/api/v1/namespaces/khealth/replicationcontrollers/a", "khealth"),
        ("/apis/coordination.k8s.io/v1/namespaces/khealth/leases/a", "khealth"),
        ("/api/v1/namespaces/khealth", ""),
        ("/api/v1/namespaces", ""),
        ("/api/v1/nodes", ""),
    ],
)
def test_a_path_tells_the_namespace(path: str, namespace: str) -> None:
    """Of what is in one; a namespace itself is the cluster's."""
    assert namespace == namespace_of(path)


def test_credentials_that_are_not_accepted_are_told_once(told: Told) -> None:
    """An error when it begins, a warning when it ends; what never came there says nothing of it."""
    with capture_logs() as logs:
        for outcome in (UNKNOWN, UNKNOWN, UNREACHABLE, BUSY, UNAVAILABLE):
            told.denials.authenticate(outcome)
        (denied,) = told.denials.now()
        told.denials.authenticate(FORBIDDEN)
    accepted = "accept khealth's credentials"
    expected = [
        ("error", f"the API server does not {accepted}"),
        ("warning", f"the API server {accepted} again".replace("accept ", "accepts ")),
    ]
    assert expected == [(log["log_level"], log["event"]) for log in logs]
    assert ("every request", UNKNOWN.note, ()) == (denied.why, denied.note, told.denials.now())


def test_a_plug_in_that_fails_leaves_khealth_without_credentials(told: Told) -> None:
    """It is told as a 401 is."""
    told.denials.authenticate(no_credentials(RuntimeError("please log in")))
    assert ["please log in"] == [denied.note for denied in told.denials.now()]
