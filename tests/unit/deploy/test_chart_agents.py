"""The agents that the chart runs: pods, placement, number, and network policies."""

import json
from typing import Any

import charts
import pytest
import yaml
from charts import Json, Manifests

from khealth_exporter.canaries.agents.settings import AgentPodSettings, AgentsSettings
from khealth_exporter.canaries.agents.template import HOST, PORT, agent_spec
from khealth_exporter.canaries.pod_spec import Resources
from khealth_exporter.config import load
from khealth_exporter.core.agents import DEPLOYMENT, SECRET
from khealth_exporter.simulator.pod_security import violations

ASKING: Json = {"config": {"modules": {"network": {"latency": {}}}}}
"""Values of a khealth that asks agents."""
EVERYWHERE: Json = charts.AGENTS_EVERYWHERE
ALL = {"app.kubernetes.io/component": "agent", "app.kubernetes.io/managed-by": "khealth"}
"""Labels by which khealth finds agents."""


def workload(manifests: Manifests) -> Json:
    """Return what runs the agents."""
    (found,) = (d for d in manifests if d["metadata"]["name"] == DEPLOYMENT and "template" in d.get("spec", {}))
    return found


def template(manifests: Manifests) -> Json:
    """Return the template of the agents' pods."""
    return workload(manifests)["spec"]["template"]  # type: ignore[no-any-return]


def config(manifests: Manifests) -> AgentsSettings:
    """Return what khealth is told of agents."""
    return load(manifests.config.encode()).agents


def policy(manifests: Manifests, name: str) -> Json:
    """Return the specification of a NetworkPolicy."""
    return manifests.one("NetworkPolicy", name)["spec"]  # type: ignore[no-any-return]


def sent(**settings: Any) -> Json:
    """Return the pod that khealth itself would make of these settings, spread by the labels of the chart's."""
    labels = {
        "app.kubernetes.io/component": "agent",
        "app.kubernetes.io/instance": "khealth",
        "app.kubernetes.io/name": "khealth-agent",
    }
    spec = agent_spec(AgentPodSettings(**settings), labels, SECRET)
    return json.loads(json.dumps(spec))  # type: ignore[no-any-return]


def test_an_agent_is_the_pod_that_khealth_itself_would_run(helm: charts.Helm) -> None:
    """To the letter: its command, environment, ports, probe, security context and volume."""
    assert sent(image="khealth:0.1.0") == template(helm.template(ASKING))["spec"]


def test_what_the_values_say_of_agents_reaches_their_pods(helm: charts.Helm) -> None:
    """The user and the pull secrets are those of all canaries."""
    told = EVERYWHERE["agents"]
    expected = sent(
        image="khealth:0.1.0",
        imagePullSecrets=({"name": "pause"}, {"name": "own"}),
        runAsUser=1000650000,
        resources=Resources(**told["resources"]),
        **{key: told[key] for key in ("nodeSelector", "tolerations", "priorityClassName", "runtimeClassName")},
    )
    assert expected == template(helm.template(EVERYWHERE))["spec"]


def test_the_user_of_agents_can_be_left_to_the_cluster(helm: charts.Helm) -> None:
    """As that of all canaries, with the group that may read what is mounted."""
    values = {**ASKING, "canaries": {"pod": {"runAsUser": None}}}
    assert sent(image="khealth:0.1.0", runAsUser=None) == template(helm.template(values))["spec"]


def test_agents_pass_the_restricted_pod_security_standard(helm: charts.Helm) -> None:
    """In the namespace of the canaries, they are let in."""
    for values in (ASKING, EVERYWHERE):
        assert [] == violations(template(helm.template(values)), "restricted")


def test_khealth_finds_the_agents(helm: charts.Helm) -> None:
    """By labels that nobody can take away; by no label of a run, so that no sweep takes them."""
    for values in (ASKING, EVERYWHERE):
        labels = template(helm.template(values))["metadata"]["labels"]
        assert ALL.items() <= labels.items()
        assert [] == [key for key in labels if key.startswith("khealth.io/")]


def test_labels_and_annotations_of_agents_can_be_others(helm: charts.Helm) -> None:
    """Those that keep sidecars away give way; common labels displace none."""
    metadata = template(helm.template(EVERYWHERE))["metadata"]
    labels, annotations = metadata["labels"], metadata["annotations"]
    found = [labels[key] for key in ("team", "tier", "istio.io/dataplane-mode", "sidecar.istio.io/inject")]
    assert ["sre", "two", "ambient", "false"] == found
    assert ("b", "enabled") == (annotations["a"], annotations["linkerd.io/inject"])


def test_selectors_of_khealth_select_no_agent(helm: charts.Helm) -> None:
    """And that of the agents selects its own pods alone."""
    manifests = helm.template(ASKING)
    own = manifests.exporter["spec"]["template"]["metadata"]["labels"]
    labels = template(manifests)["metadata"]["labels"]
    selector = workload(manifests)["spec"]["selector"]["matchLabels"]
    assert (True, False) == (selector.items() <= labels.items(), selector.items() <= own.items())
    others = [
        manifests.exporter["spec"]["selector"]["matchLabels"],
        policy(manifests, "khealth")["podSelector"]["matchLabels"],
        *(document["spec"]["selector"] for document in manifests if document["kind"] == "Service"),
    ]
    assert [False] * 4 == [other.items() <= labels.items() for other in others]


def test_khealth_scales_the_deployment(helm: charts.Helm) -> None:
    """The chart says no number, or each upgrade would undo what khealth has set; the other settings are the user's."""
    manifests = helm.template({"config": {**ASKING["config"], "agents": {"count": 4, "channel": "pod"}}})
    assert ("Deployment", False) == (workload(manifests)["kind"], "replicas" in workload(manifests)["spec"])
    assert AgentsSettings(count=4, channel="pod", own=False, scale=True) == config(manifests)


def test_a_daemonset_is_not_scaled(helm: charts.Helm) -> None:
    """It has one agent on each node, and replaces a tenth of them at a time."""
    manifests = helm.template(EVERYWHERE)
    assert "DaemonSet" == workload(manifests)["kind"]
    assert {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}} == workload(manifests)["spec"][
        "updateStrategy"
    ]
    assert AgentsSettings(channel="proxy", own=False, host_network=True) == config(manifests)


def test_an_upgrade_cannot_take_the_secret_back(helm: charts.Helm) -> None:
    """The manifest has no data, so what khealth has filled in is nobody's to remove."""
    found = helm.template(EVERYWHERE).one("Secret", SECRET)
    assert ("canaries", {"apiVersion", "kind", "metadata", "type"}) == (found["metadata"]["namespace"], set(found))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"config": {"modules": {"storage": {}, "network": {"suspend": True}}}, "agents": {"enabled": False}},
        {"config": {"canary": {"image": ""}, "modules": {"network": {}}}},
    ],
)
def test_there_are_no_agents_where_none_are_asked(helm: charts.Helm, values: Json) -> None:
    """Nor where another release runs them, or there is no image for them."""
    kinds = helm.template(values).kinds
    assert [] == [kind for kind in kinds if kind.endswith(f"/{DEPLOYMENT}")]


def test_agents_of_another_release_are_asked_and_not_scaled(helm: charts.Helm) -> None:
    """Khealth runs none of its own beside them, whether or not it has an image."""
    for canary in ({}, {"image": ""}):
        values = {"config": {**ASKING["config"], "canary": canary, "agents": None}, "agents": {"enabled": False}}
        assert AgentsSettings(own=False) == config(helm.template(values))


def test_without_an_image_nothing_is_asked(helm: charts.Helm) -> None:
    """A routine that could only be inconclusive is not there."""
    values = {"config": {"canary": {"image": ""}, "modules": {"network": None}}}
    assert "network" not in yaml.safe_load(helm.template(values).config)["modules"]


def test_a_khealth_that_asks_nobody_is_told_nothing_of_agents(helm: charts.Helm) -> None:
    """Its configuration is as short as it was."""
    assert "agents" not in yaml.safe_load(helm.template({}).config)


def test_values_of_an_earlier_release_run_agents_too(helm: charts.Helm) -> None:
    """They say nothing of agents; each has its default."""
    assert helm.template(ASKING).text == helm.template({**ASKING, "agents": None}).text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"agents": {"priorityClassName": "khealth-canary"}},
            "values: agents.priorityClassName: khealth-canary is the canaries' class: their quota would count agents too",
        ),
        (
            {"agents": {"resources": {"limits": {"memory": "12Mi"}}}},
            "values: agents.resources: the request of memory (16Mi) exceeds its limit (12Mi)",
        ),
        ({"agents": {"kind": "StatefulSet"}}, "at '/agents/kind': value must be one of"),
        ({"agents": {"labels": {"khealth.io/run": "x"}}}, "at '/agents/labels/khealth.io~1run': false schema"),
        ({"config": {"agents": {"own": True}}}, "at '/config/agents': additional properties 'own' not allowed"),
    ],
)
def test_agents_that_cannot_be_meant_are_refused(helm: charts.Helm, values: Json, message: str) -> None:
    """Before anything is installed."""
    given = {**values, "config": {**ASKING["config"], **values.get("config", {})}}
    assert message in helm.refusal(given)


def test_khealth_reaches_the_agents(helm: charts.Helm) -> None:
    """In the namespace of the canaries."""
    (rule,) = (rule for rule in policy(helm.template(EVERYWHERE), "khealth")["egress"] if "to" in rule)
    agents = {"matchLabels": ALL}
    canaries = {"matchLabels": {"kubernetes.io/metadata.name": "canaries"}}
    expected = {
        "to": [{"namespaceSelector": canaries, "podSelector": agents}],
        "ports": [{"port": PORT, "protocol": "TCP"}],
    }
    assert expected == rule


def test_agents_answer_khealth_and_each_other(helm: charts.Helm) -> None:
    """And go wherever they like, whatever other policies deny to every pod of the namespace."""
    found = policy(helm.template(EVERYWHERE), DEPLOYMENT)
    khealth = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "khealth"}},
        "podSelector": {"matchLabels": {"khealth.io/release": "khealth"}},
    }
    both = [{"port": PORT, "protocol": protocol} for protocol in ("TCP", "UDP")]
    assert {"from": [khealth, {"podSelector": {"matchLabels": ALL}}], "ports": both} == found["ingress"][0]
    assert (ALL, ["Ingress", "Egress"], [{}]) == (
        found["podSelector"]["matchLabels"],
        found["policyTypes"],
        found["egress"],
    )


def test_the_proxy_of_the_api_server_reaches_agents(helm: charts.Helm) -> None:
    """From everywhere, unless the user knows where the API servers are: there khealth asks who is silent."""
    tcp = [{"port": PORT, "protocol": "TCP"}]
    assert {"ports": tcp} == policy(helm.template(ASKING), DEPLOYMENT)["ingress"][1]
    known = EVERYWHERE["networkPolicy"]["apiServers"]
    assert {"from": known, "ports": tcp} == policy(helm.template(EVERYWHERE), DEPLOYMENT)["ingress"][1]


def test_policies_for_agents_can_be_left_to_others(helm: charts.Helm) -> None:
    """As that for khealth."""
    kinds = helm.template({**ASKING, "networkPolicy": {"enabled": False}}).kinds
    assert [] == [kind for kind in kinds if kind.startswith("NetworkPolicy")]


@pytest.mark.parametrize(("listen", "port"), [(None, 8090), ({"listen": ":9090"}, 9090), ({"listen": "[::]:90"}, 90)])
def test_checks_reach_the_port_for_their_reports(helm: charts.Helm, listen: Json | None, port: int) -> None:
    """From the namespace of the canaries; it is khealth's own."""
    values = {**EVERYWHERE, "config": {**EVERYWHERE["config"], "kuberhealthy": listen}}
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "canaries"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/managed-by": "khealth"}},
    }
    expected = {"from": [peer], "ports": [{"port": port, "protocol": "TCP"}]}
    assert expected == policy(helm.template(values), "khealth")["ingress"][-1]


def test_without_such_a_check_nobody_reaches_that_port(helm: charts.Helm) -> None:
    """Khealth does not listen there."""
    values = {"config": {"kuberhealthy": {"listen": ":9090"}}}
    assert "9090" not in str(policy(helm.template(values), "khealth"))


ON_HOSTS: Json = {**ASKING, "agents": {"hostNetwork": True}, "namespace": {"create": True}}


def on_hosts(manifests: Manifests) -> Json:
    """Return the DaemonSet of the agents in the networks of nodes."""
    return manifests.one("DaemonSet", f"{DEPLOYMENT}-host")


def test_agents_in_the_networks_of_nodes_are_the_same_pods_elsewhere(helm: charts.Helm) -> None:
    """On every node, and told from the other agents by their name; khealth learns that they are there."""
    manifests = helm.template(ON_HOSTS)
    labels = {**on_hosts(manifests)["spec"]["selector"]["matchLabels"]}
    expected = {**agent_spec(AgentPodSettings(image="khealth:0.1.0"), labels, SECRET), **HOST}
    found = on_hosts(manifests)["spec"]["template"]
    assert json.loads(json.dumps(expected)) == found["spec"]
    assert (labels | ALL).items() <= found["metadata"]["labels"].items()
    assert "khealth-agent-host" == labels["app.kubernetes.io/name"]
    assert config(manifests).host_network


def test_no_selector_of_agents_selects_those_of_the_other_network(helm: charts.Helm) -> None:
    """Each controller counts its own pods."""
    manifests = helm.template(ON_HOSTS)
    both = (workload(manifests), on_hosts(manifests))
    selected = [
        one["spec"]["selector"]["matchLabels"].items() <= other["spec"]["template"]["metadata"]["labels"].items()
        for one in both
        for other in both
    ]
    assert [True, False, False, True] == selected


def test_the_namespace_of_agents_in_the_networks_of_nodes_lets_them_in(helm: charts.Helm) -> None:
    """And that of khealth itself stays restricted, if it is another one."""
    manifests = helm.template({**ON_HOSTS, "canaries": {"namespace": "canaries"}})
    levels = {
        found["metadata"]["name"]: found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for found in manifests
        if found["kind"] == "Namespace"
    }
    assert {"khealth": "restricted", "canaries": "privileged"} == levels


def test_khealth_may_connect_to_agents_in_the_networks_of_nodes(helm: charts.Helm) -> None:
    """No selector of a policy finds these pods."""
    ports = [rule["ports"] for rule in policy(helm.template(ON_HOSTS), "khealth")["egress"] if "to" not in rule]
    assert [{"port": PORT, "protocol": "TCP"}] in ports


def test_agents_in_the_networks_of_nodes_can_be_another_releases(helm: charts.Helm) -> None:
    """As all agents: khealth may connect to them."""
    agents = {"host_network": True}
    values: Json = {"config": {**ASKING["config"], "agents": agents}, "agents": {"enabled": False}}
    ports = [rule["ports"] for rule in policy(helm.template(values), "khealth")["egress"] if "to" not in rule]
    assert [{"port": PORT, "protocol": "TCP"}] in ports
    assert "set agents.hostNetwork instead" in helm.refusal({"config": values["config"]})


def test_there_are_no_agents_in_the_networks_of_nodes_unless_they_are_asked_for(helm: charts.Helm) -> None:
    """It needs a namespace that is not restricted; nor are there any where no routine asks agents."""
    only_dns: Json = {"config": {"modules": {"network": {"dns": {}}}}, "agents": {"hostNetwork": True}}
    for values in (ASKING, only_dns, {"agents": {"hostNetwork": True}}):
        manifests = helm.template(values)
        assert [] == [found for found in manifests.kinds if "-host" in found]
        assert not config(manifests).host_network
