"""The row about the network: what agents measure of DNS, Services, policies, and round trips between nodes."""

from collections.abc import Iterator

from grafana_foundation_sdk.builders import timeseries

from dashboards import queries as ask
from dashboards import routines
from dashboards.parts import GREEN, HOURLY, RED, Query, Told, finished, lines, query
from dashboards.routines import of_module

TOP = routines.TOP + 22
"""The first line of the row on the grid, below its title."""
NONE = "Module network does not run, or fewer than 5 samples."
DNS = Told(
    "network/dns: each way to a DNS server, p50 and p99 of 1 h",
    "The duration of DNS answers, by the way that was asked: service is the address of the DNS Service, server each DNS"
    " pod at its own address, and resolve what a pod does. Good is a few milliseconds. If service is slow and server is"
    " not, look at kube-proxy. The status page has each DNS pod. With fewer than 5 samples there is no value.",
    (0, TOP, 12, 8),
    ("KhealthDnsBroken", "dns_failed", "one_dns_server"),
)
REST = Told(
    "network: other steps, p99 of 1 h",
    "The duration of round trips between pods, to a Service and to the API server, of the time until Services,"
    " policies and new names take effect, and of connections to targets outside the cluster. Good is what your network"
    " usually does, without a trend.",
    (12, TOP, 12, 8),
    ("KhealthNetworkBroken", "network_slow", "service_not_programmed"),
)
WORST = Told(
    "network/latency: worst pair of nodes",
    "The longest median TCP round trip between two nodes, and the largest jitter, in the last attempt. Good is below"
    " 1 ms in one data center. The status page has the matrix of nodes, with the worst pairs.",
    (0, TOP + 8, 8, 7),
    ("network_slow",),
)
LOSS = Told(
    "network/latency: lost round trips",
    "The share of round trips between nodes that were lost in the last attempt. Good is 0. Above the dashed line, 5 %,"
    " the network counts as slow by default, if chance does not explain it.",
    (8, TOP + 8, 5, 7),
    ("network_slow", "network_unreachable"),
)
FAILING = Told(
    "network: DNS pods and pairs failing",
    "DNS pods that give no agent the right answer at their own addresses, and pairs of nodes that are unreachable or"
    " slow. Good is 0.",
    (13, TOP + 8, 5, 7),
    ("one_dns_server", "network_unreachable", "mtu_black_hole"),
)
AGENTS = Told(
    "network: agents",
    "Agents that are Ready, and agents that are wanted. Good is as many Ready as wanted.",
    (18, TOP + 8, 6, 7),
    ("KhealthAgentsMissing", "agents_not_ready"),
)


def panels() -> Iterator[timeseries.Panel]:
    """Yield the panels of the row about the network."""
    ways = lines("s", none=NONE).interval(HOURLY)
    asked = ',routine="dns",step!="propagate"'
    shares = ((0.5, "A"), (0.99, "B"))
    yield finished(ways, DNS, *(of_module("network", share, ref, asked) for share, ref in shares))
    rest = lines("s", none=NONE).interval(HOURLY)
    others = ((',routine!="dns"', "A"), (',routine="dns",step="propagate"', "B"))
    yield finished(rest, REST, *(of_module("network", 0.99, ref, chosen) for chosen, ref in others))
    worst = (("khealth_latency_worst_seconds", "round trip"), ("khealth_latency_worst_jitter_seconds", "jitter"))
    yield finished(lines("s", none=NONE), WORST, *_figures(*worst))
    loss = lines("percentunit", (None, GREEN), (0.05, RED), none=NONE)
    yield finished(loss, LOSS, *_figures(("khealth_latency_loss_ratio", "lost")))
    failing = (("khealth_dns_servers_failing", "DNS pods"), ("khealth_latency_pairs_failing", "pairs"))
    yield finished(lines("short", none=NONE, decimals=0), FAILING, *_figures(*failing))
    agents = query(f"max by (cluster, state) (khealth_agents{{{ask.TARGET}}})", "{{cluster}} {{state}}")
    yield finished(lines("short", none="No routine needs agents.", decimals=0), AGENTS, agents)


def _figures(*named: tuple[str, str]) -> Iterator[Query]:
    """Yield the highest value of each metric in a cluster, with what it is called."""
    for (metric, called), ref in zip(named, "AB", strict=False):
        expression = f"max by (cluster, routine) ({metric}{{{ask.ROUTINE}}})"
        yield query(expression, f"{{{{cluster}}}} {{{{routine}}}} {called}", ref)
