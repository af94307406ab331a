"""The rights that the chart grants: those that the enabled routines and the core need, and no other."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import charts
import pytest
from charts import Json, Manifests

from deploy.generate import CHART, SHARED, catalogue, configurable
from khealth_exporter.config import load
from khealth_exporter.core.agents import THROUGH_PROXY
from khealth_exporter.modules import MODULES, Module
from khealth_exporter.routines.rcscheduler import RcScheduler, RcSchedulerSettings
from khealth_exporter.vocabulary.permission import Permission

Grant = tuple[str, str, str]
"""Group, resource, with the name of the object if it is for one alone, and verb."""


class Leases(RcScheduler):
    """A kind that needs what others do not."""

    name: ClassVar[str] = "leases"
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("create", "leases", group="coordination.k8s.io", why="take it"),
        Permission("get", "leases", group="coordination.k8s.io", why="look at it"),
        Permission("delete", "pods", why="be done with them"),
        Permission("list", "storageclasses", group="storage.k8s.io", scope="cluster", why="find a default"),
    )


class Jobs(RcScheduler):
    """Another one, of the same module."""

    name: ClassVar[str] = "jobs"
    permissions: ClassVar[tuple[Permission, ...]] = (Permission("create", "jobs", group="batch", why="make one"),)


class ProbeSettings(RcSchedulerSettings):
    """A setting without a default."""

    url: str


class Probe(RcScheduler):
    """A kind that runs only if it is configured."""

    name: ClassVar[str] = "probe"
    permissions: ClassVar[tuple[Permission, ...]] = (Permission("get", "ingresses", group="networking.k8s.io"),)
    Settings: ClassVar[type[RcSchedulerSettings]] = ProbeSettings


ONE = Module("rcscheduler", "", (RcScheduler,))
MORE = (ONE, Module("more", "", (Leases, Jobs, Probe)), Module("off", "", (Jobs, Probe), default=False))
"""Modules that khealth might have one day."""


def granted(manifests: Manifests, kind: str) -> list[Grant]:
    """Return what the roles of a kind grant, one by one."""
    rules = [rule for document in manifests if document["kind"] == kind for rule in document["rules"]]
    return sorted(
        (group, f"{resource} {name}".strip(), verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    )


def needed(manifests: Manifests, scope: str, folder: Path, modules: Iterable[Module] = MODULES) -> list[Grant]:
    """Return what is needed by the routines that the rendered configuration enables, and by the core."""
    file = folder / "khealth.yaml"
    file.write_text(manifests.config)
    config = load(file, modules=tuple(modules))
    routines = config.routines
    asked = config.agents.proxied(inside=True) and any(routine.kind.needs_agents for routine in routines)
    permissions = {
        *SHARED,
        *(
            permission
            for routine in routines
            for permission in routine.kind.all_permissions()
            if not permission.when or getattr(routine.settings, permission.when)
        ),
    }
    inside = {p for p in permissions if not p.outside} | {*(THROUGH_PROXY if asked else ())}
    return sorted({(p.group, f"{p.resource} {p.name}".strip(), p.verb) for p in inside if p.scope == scope})


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """Return a chart of a khealth with more modules."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    (chart / "files" / "catalogue.json").write_text(json.dumps(catalogue(MORE)))
    file = chart / "values.schema.json"
    file.write_text(json.dumps(configurable(json.loads(file.read_text()), MORE)))
    return chart


@pytest.mark.parametrize("name", charts.SETS)
def test_the_role_is_what_is_needed(helm: charts.Helm, name: str, tmp_path: Path) -> None:
    """Neither a right too few nor one too many, whatever is configured."""
    manifests = helm.template(charts.SETS[name])
    assert needed(manifests, "namespace", tmp_path) == granted(manifests, "Role")


@pytest.mark.parametrize("name", [name for name in charts.SETS if name != "bare"])
def test_the_cluster_role_is_what_is_needed(helm: charts.Helm, name: str, tmp_path: Path) -> None:
    """All of it is read-only."""
    manifests = helm.template(charts.SETS[name])
    found = granted(manifests, "ClusterRole")
    assert needed(manifests, "cluster", tmp_path) == found
    assert {"get", "list", "watch"} >= {verb for _, _, verb in found}


def test_a_permission_that_depends_on_a_setting_is_granted_with_it(helm: charts.Helm, tmp_path: Path) -> None:
    """Nodes can be watched, and EndpointSlices listed, only if the settings ask for it."""
    modules = {"control-plane": {"api": {"endpoints": True}}, "workloads": {"pod": {"new_nodes": True}}}
    manifests = helm.template({"config": {"modules": modules}})
    found = granted(manifests, "ClusterRole")
    expected = [("", "nodes", "list"), ("", "nodes", "watch"), ("discovery.k8s.io", "endpointslices", "list")]
    assert expected == needed(manifests, "cluster", tmp_path) == found


def test_only_the_routine_that_mounts_a_secret_may_touch_secrets(helm: charts.Helm) -> None:
    """The namespace may hold Secrets of others, and RBAC cannot tell them apart."""
    others: Json = {
        "workloads": {"deployment": {}, "collect": {}},
        "storage": {"disk": {}, "volume": {}},
        "network": {},
    }
    for modules, verbs in (
        ({}, []),
        (others, []),
        ({"storage": {"config": {}}}, ["create", "delete", "get", "list", "update"]),
    ):
        found = granted(helm.template({"config": {"modules": modules}}), "Role")
        assert verbs == [verb for _, resource, verb in found if resource == "secrets"]


def test_of_secrets_who_asks_agents_may_touch_theirs_alone(helm: charts.Helm) -> None:
    """And can scale nothing but their Deployment."""
    found = granted(helm.template({"config": {"modules": {"network": {}}}}), "Role")
    assert [("", "secrets khealth-agent", "get"), ("", "secrets khealth-agent", "patch")] == [
        grant for grant in found if grant[1].startswith("secrets")
    ]
    assert [("apps", "deployments/scale khealth-agent", "patch")] == [g for g in found if "scale" in g[1]]


def test_a_name_bounds_no_other_right(helm: charts.Helm) -> None:
    """A routine that mounts a Secret of its own keeps its rights beside those for the agents' Secret."""
    found = granted(helm.template({"config": {"modules": {"network": {}, "storage": {"config": {}}}}}), "Role")
    whole = [verb for _, resource, verb in found if resource == "secrets"]
    assert ["create", "delete", "get", "list", "update"] == whole
    assert ["get", "patch"] == [verb for _, resource, verb in found if resource == "secrets khealth-agent"]


@pytest.mark.parametrize(("channel", "verbs"), [("auto", ["get"]), ("pod", ["get"]), ("proxy", ["create", "get"])])
def test_agents_are_asked_through_the_api_server_only_if_that_is_configured(
    helm: charts.Helm, channel: str, verbs: list[str]
) -> None:
    """Looking whether a silent one answers there needs less."""
    values = {"config": {"agents": {"channel": channel}, "modules": {"network": {"latency": {}}}}}
    found = granted(helm.template(values), "Role")
    assert verbs == [verb for _, resource, verb in found if resource == "pods/proxy"]


def test_nodes_can_be_left_out(helm: charts.Helm) -> None:
    """Then nothing is granted cluster-wide."""
    manifests = helm.template({"rbac": {"nodes": False}})
    assert [] == [kind for kind in manifests.kinds if kind.startswith("ClusterRole")]


@pytest.mark.parametrize(
    ("modules", "kinds"),
    [
        ({}, (RcScheduler, Leases, Jobs)),
        ({"more": {"jobs": {}}}, (RcScheduler, Jobs)),
        ({"more": {"jobs": None, "other": {"kind": "jobs"}}}, (RcScheduler, Jobs)),
        ({"more": {"other": {"kind": "leases"}}}, (RcScheduler, Leases)),
        ({"more": None, "rcscheduler": {}}, (RcScheduler, Leases, Jobs)),
        ({"more": {"suspend": True}}, (RcScheduler, Leases, Jobs)),
        ({"more": {"suspend": True, "jobs": {}}}, (RcScheduler, Jobs)),
        ({"more": {"jobs": {}}, "off": {}}, (RcScheduler, Jobs)),
        ({"more": {"jobs": {}}, "off": {"suspend": True}}, (RcScheduler, Jobs)),
        ({"more": {"probe": {"url": "a"}}}, (RcScheduler, Probe)),
        ({"more": {"jobs": {}}, "off": {"other": {"kind": "probe", "url": "a"}}}, (RcScheduler, Jobs, Probe)),
    ],
)  # fmt: skip
def test_rights_follow_from_the_routines_that_are_enabled(
    helm: charts.Helm, more: Path, tmp_path: Path, modules: Json, kinds: tuple[type[RcScheduler], ...]
) -> None:
    """By kind, under any name; a module that is not mentioned runs its kinds only if it is a default."""
    manifests = helm.template({"config": {"modules": modules}}, chart=more)
    own = {permission for kind in kinds for permission in kind.all_permissions()}
    for scope, role in (("namespace", "Role"), ("cluster", "ClusterRole")):
        expected = {(p.group, p.resource, p.verb) for p in {*SHARED, *own} if p.scope == scope and not p.outside}
        assert sorted(expected) == granted(manifests, role) == needed(manifests, scope, tmp_path, MORE)


def test_each_need_of_the_whole_cluster_has_a_role_of_its_own(helm: charts.Helm, more: Path) -> None:
    """So that each can be left out by itself; two releases of one name in two namespaces do not meet."""
    kinds = helm.template({"namespaceOverride": "canaries"}, chart=more).kinds
    assert [
        "ClusterRole/canaries-khealth-nodes",
        "ClusterRole/canaries-khealth-storageclasses",
        "ClusterRoleBinding/canaries-khealth-nodes",
        "ClusterRoleBinding/canaries-khealth-storageclasses",
    ] == [kind for kind in kinds if kind.startswith("ClusterRole")]


def test_no_rule_has_a_wildcard(helm: charts.Helm) -> None:
    """Not even of what a later Kubernetes will know."""
    grants = [g for kind in ("Role", "ClusterRole") for g in granted(helm.template({}), kind)]
    assert [] == [grant for grant in grants if "*" in "".join(grant)]


def test_rights_are_where_the_canaries_are(helm: charts.Helm) -> None:
    """The ServiceAccount stays where khealth is."""
    manifests = helm.template(charts.ELSEWHERE)
    placed = {
        document["kind"]: document["metadata"]["namespace"]
        for document in manifests
        if document["kind"] in {"Role", "RoleBinding", "ResourceQuota", "ServiceAccount", "Deployment"}
    }
    expected = {
        "Role": "canaries",
        "RoleBinding": "canaries",
        "ResourceQuota": "canaries",
        "ServiceAccount": "khealth",
        "Deployment": "khealth",
    }
    assert expected == placed


def test_releases_of_two_namespaces_can_share_one_for_their_canaries(helm: charts.Helm) -> None:
    """Of one name as they are, they make nothing there that is the other's too."""
    made = [
        {
            (document["kind"], document["metadata"]["name"])
            for document in helm.template({**charts.ELSEWHERE, "namespaceOverride": where})
            if document["kind"] in {"Role", "RoleBinding", "ResourceQuota"}
        }
        for where in ("one", "two")
    ]
    assert (3, 3, set()) == (len(made[0]), len(made[1]), made[0] & made[1])


@pytest.mark.parametrize("name", charts.SETS)
def test_every_binding_is_khealths_own_account(helm: charts.Helm, name: str) -> None:
    """Of the role of its own name, to the account that the pod has, and to nobody else."""
    manifests = helm.template(charts.SETS[name])
    account = {"kind": "ServiceAccount", "name": manifests.pod["serviceAccountName"]}
    where = manifests.exporter["metadata"]["namespace"]
    bindings = [document for document in manifests if document["kind"].endswith("RoleBinding")]
    assert bindings
    for document in bindings:
        assert [{**account, "namespace": where}] == document["subjects"]
        kind = document["kind"].removesuffix("Binding")
        assert (kind, document["metadata"]["name"]) == (document["roleRef"]["kind"], document["roleRef"]["name"])


def test_rights_can_be_left_to_others(helm: charts.Helm) -> None:
    """If you manage roles by other means, the chart creates none."""
    kinds = helm.template({"rbac": {"create": False}, "serviceAccount": {"create": False}}).kinds
    assert [] == [kind for kind in kinds if "Role" in kind or "Account" in kind]


def test_each_right_says_what_it_is_for(helm: charts.Helm) -> None:
    """In a file next to it, for the person who has to approve it."""
    assert "- list # diagnosis: tell `no node is Ready` from `no room`" in helm.template({}).text
