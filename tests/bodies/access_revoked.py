"""What khealth says and does when a right is taken away from it, or its token, and when it is given back."""

import pytest

from bodies.access import CONTROLLERS, told
from bodies.account import RIGHTS, account, right
from bodies.begun import succeeding
from bodies.run import asking, counted, on_request
from bodies.target import Running, Target, wait_for
from bodies.way import Way

PATIENT = "15s"
"""The time-out of an attempt: a cleanup that is refused goes on for so long."""


def forbidden(running: Running) -> float:
    """Return how many attempts were inconclusive for want of a right."""
    return running.metric("khealth_inconclusive_total", reason="forbidden") or 0.0


def controllers(target: Target) -> list[str]:
    """Return the names of the ReplicationControllers that khealth has made."""
    found = target.core.list_namespaced_replication_controller(target.namespace).items
    return [item.metadata.name for item in found]


@pytest.mark.parametrize(("verb", "resource"), [("create", CONTROLLERS), ("delete", CONTROLLERS)])
def test_a_right_that_is_taken_away_is_told_until_it_is_back(target: Target, verb: str, resource: str) -> None:
    """Inconclusive while it lasts, named once in the log and on every page; well again without a restart."""
    words = told(target, verb, resource)
    with (
        account(target) as khealth,
        succeeding(target, on_request(target, timeout=PATIENT), khealth.kubeconfig()) as running,
    ):
        khealth.grant(RIGHTS - {right(verb, resource)})
        wait_for("the second such attempt", asking(running, lambda: forbidden(running) >= 2), 90)
        shown = running.state(), running.forbidden(), words in running.get("/")[1], running.log.count(f"{words}: `")
        failed = running.metric("khealth_consecutive_failures")
        left = set(target.objects())
        khealth.grant(RIGHTS)
        wait_for("recovery", asking(running, lambda: running.state() == 200))
        after = running.forbidden(), running.log.count(f"khealth may {verb} {resource}")
        wait_for("the sweep of what was left", lambda: not left & set(target.objects()))
        running.stop()
    assert (503, [(verb, resource, target.namespace, False)], True, 1) == shown
    assert (0.0, ([], 1), []) == (failed, after, target.objects())


@pytest.mark.parametrize(("verb", "resource"), [("watch", "pods"), ("list", CONTROLLERS)])
def test_a_watch_that_was_refused_begins_when_it_may(target: Target, verb: str, resource: str) -> None:
    """Without a restart of khealth."""
    with (
        account(target, RIGHTS - {right(verb, resource)}) as khealth,
        target.running(on_request(target, timeout=PATIENT), kubeconfig=khealth.kubeconfig()) as running,
    ):
        wait_for("the verdict", asking(running, counted(running, "inconclusive", "forbidden")))
        shown = running.state(), running.forbidden()
        khealth.grant(RIGHTS)
        wait_for("recovery", asking(running, lambda: running.state() == 200))
        after = running.forbidden()
        running.stop()
    assert ((503, [(verb, resource, target.namespace, False)]), []) == (shown, after)


def test_without_the_right_to_delete_what_was_made_stays_and_no_more_is_made(target: Target) -> None:
    """One attempt's objects are left, and not one more for each further attempt."""
    with (
        account(target) as khealth,
        succeeding(target, on_request(target, timeout=PATIENT), khealth.kubeconfig()) as running,
    ):
        khealth.grant(RIGHTS - {right("delete", CONTROLLERS)})
        wait_for("three such attempts", asking(running, lambda: forbidden(running) >= 3), 120)
        left = controllers(target)
        running.process.kill()
        running.process.wait()
    assert 1 == len(left), left


def test_a_sweep_without_the_right_to_delete_says_so(target: Target) -> None:
    """Exit 3: it could not do its work, and nothing else is wrong."""
    with (
        account(target) as khealth,
        target.running(on_request(target, timeout=PATIENT), kubeconfig=khealth.kubeconfig()) as running,
    ):
        wait_for("something to sweep", target.objects)
        running.process.kill()
        running.process.wait()
        khealth.grant(RIGHTS - {right("delete", CONTROLLERS)})
        swept = target.run("sweep", "--all", "--timeout", "20s", kubeconfig=khealth.kubeconfig())
    assert (3, True) == (swept.returncode, told(target, "delete", CONTROLLERS) in swept.stderr), swept.stderr


def test_a_token_that_is_revoked_is_inconclusive_until_it_is_replaced(target: Target) -> None:
    """Neither requests nor watches are let in, which /status says; with a new token both are, without a restart."""
    with (
        account(target) as khealth,
        Way(target.server) as way,
        succeeding(target, on_request(target, timeout=PATIENT), khealth.kubeconfig(way.address)) as running,
    ):
        khealth.revoke()
        wait_for("the verdict", asking(running, counted(running, "inconclusive", "forbidden")))
        way.cut()
        wait_for("refused watches", lambda: running.metric("khealth_watch_restarts_total", cause="forbidden"))
        wait_for("an attempt without watches", asking(running, lambda: forbidden(running) >= 2))
        shown = running.state(), running.forbidden(), running.metric("khealth_consecutive_failures")
        left = set(target.objects())
        khealth.renew()
        wait_for("recovery", asking(running, lambda: running.state() == 200))
        wait_for("the sweep of what was left", lambda: not left & set(target.objects()))
        accepted, code = running.forbidden(), running.stop()
    lacking = [("authenticate", None, None, False)]
    assert ((503, lacking, 0.0), [], 0, []) == (shown, accepted, code, target.objects())
