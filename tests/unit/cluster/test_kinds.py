"""Kinds: paths, versions, and the permissions that follow from what is done with them."""

from collections.abc import Iterable

from khealth_exporter.cluster.kinds import CONFIG_MAP, ENDPOINT_SLICE, NODE, POD
from khealth_exporter.vocabulary.permission import Permission


def permissions(found: Iterable[Permission]) -> list[str]:
    return [f"{'optional ' if p.optional else ''}{p.verb} {p.scope}" for p in found]


def test_rights_follow_from_what_is_done_with_a_kind() -> None:
    """What is created must be found, deleted and swept; nodes belong to no namespace."""
    assert ["create namespace", "get namespace", "delete namespace"] == permissions(POD.to_make(watched=True))
    assert "list namespace" == permissions(CONFIG_MAP.to_make(watched=False))[-1]
    assert ["list namespace", "watch namespace"] == permissions(POD.to_watch())
    assert ["optional list cluster"] == permissions(NODE.to_read())


def test_a_kind_knows_its_path_and_version() -> None:
    """With and without a group, of a namespace or of the whole cluster."""
    paths = CONFIG_MAP.path("n", "x"), NODE.path("n"), ENDPOINT_SLICE.path("default")
    expected = (
        "/api/v1/namespaces/n/configmaps/x",
        "/api/v1/nodes",
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
    )
    assert (expected, "discovery.k8s.io/v1") == (paths, ENDPOINT_SLICE.api_version)
