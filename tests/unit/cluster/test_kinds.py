"""Kinds: paths, versions, and the permissions that follow from what is done with them."""

from collections.abc import Iterable
from dataclasses import replace

from khealth_exporter.cluster.kinds import CONFIG_MAP, ENDPOINT_SLICE, EVENT, NODE, POD
from khealth_exporter.vocabulary.permission import Permission


def permissions(found: Iterable[Permission]) -> list[str]:
    """Return permissions in words."""
    return [f"{'optional ' if p.optional else ''}{p.verb} {p.group}/{p.resource} {p.scope}" for p in found]


def test_what_is_made_must_be_found_and_deleted() -> None:
    """A watched kind is swept by its watch."""
    assert ["create /pods namespace", "get /pods namespace", "delete /pods namespace"] == permissions(
        POD.to_make(watched=True)
    )


def test_what_is_made_and_not_watched_must_be_listed() -> None:
    """Only a list shows what dead runs left of it."""
    watched, unwatched = (permissions(CONFIG_MAP.to_make(watched=watched)) for watched in (True, False))
    assert [*watched, "list /configmaps namespace"] == unwatched


def test_what_is_watched_must_be_listed_too() -> None:
    """A watch begins with a list."""
    assert ["list /pods namespace", "watch /pods namespace"] == permissions(POD.to_watch())


def test_a_kind_without_a_namespace_needs_rights_in_the_whole_cluster() -> None:
    """No Role of a namespace can grant them."""
    assert ["list /nodes cluster", "watch /nodes cluster"] == permissions(NODE.to_watch())


def test_what_is_only_read_is_optional() -> None:
    """Without it verdicts are less precise; the reason says which."""
    assert ["optional list /nodes cluster"] == permissions(NODE.to_read())
    assert ["evidence of a failed attempt"] == [permission.why for permission in EVENT.to_read()]


def test_rights_name_the_kinds_api_group() -> None:
    """RBAC rules are per group."""
    assert ["list discovery.k8s.io/endpointslices namespace", "watch discovery.k8s.io/endpointslices namespace"] == (
        permissions(ENDPOINT_SLICE.to_watch())
    )


def test_every_right_says_what_it_is_for() -> None:
    """A log entry of a denied right tells what is lost."""
    needed = [*POD.to_make(watched=False), *POD.to_watch(), *POD.to_read()]
    assert all(permission.why for permission in needed)


def test_a_kind_knows_its_path_and_version() -> None:
    """With and without a group, of a namespace or of the whole cluster."""
    cluster_wide = replace(ENDPOINT_SLICE, namespaced=False)
    paths = (
        CONFIG_MAP.path("n", "x"),
        NODE.path("n"),
        ENDPOINT_SLICE.path("default"),
        cluster_wide.path("default", "kubernetes"),
    )
    expected = (
        "/api/v1/namespaces/n/configmaps/x",
        "/api/v1/nodes",
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        "/apis/discovery.k8s.io/v1/endpointslices/kubernetes",
    )
    assert (expected, "v1", "discovery.k8s.io/v1") == (paths, POD.api_version, ENDPOINT_SLICE.api_version)
