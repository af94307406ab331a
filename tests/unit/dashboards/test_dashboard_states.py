"""What the dashboards make of khealth's series: Prometheus' own engine is asked, by promtool."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from dashboard_queries import FOLDER, VALUES, expressions, substituted
from tools import needs

from dashboards import clusters
from dashboards import queries as ask

REASONS = {
    "api_timeout": "api_server",
    "pod_not_created": "controller_manager",
    "pod_not_scheduled": "scheduler",
    "pod_unschedulable": "scheduler",
    "one_node": "node",
    "kubelet_silent": "node",
    "forbidden": "khealth",
}
MINUTES = 20
WELL, FAILED, SILENT = "success", "failure", "inconclusive"


@dataclass(frozen=True)
class Replica:
    """A khealth whose one routine had these results, the last of them now; a standby has none."""

    results: Sequence[str] = ()
    """`success`, or a reason."""
    cluster: str = ""
    instance: str = "10.0.0.1:8080"
    interval: int = 60
    labels: str = field(default='module="m",routine="r"')
    suspended: bool = False

    def series(self) -> Iterator[tuple[str, list[float | None]]]:
        """Yield its series, one sample a minute; None: the series is absent."""
        each = [*self.results]
        for reason, component in REASONS.items():
            yield f'khealth_reason_info{{{self.own},reason="{reason}",component="{component}"}}', [1.0] * MINUTES
            counter = "khealth_inconclusive_total" if reason == "forbidden" else "khealth_failures_total"
            yield f'{counter}{{{self.whole},reason="{reason}"}}', self.over([float(r == reason) for r in each])
        yield f"khealth_build_info{{{self.own}}}", [1.0] * MINUTES
        yield f"khealth_interval_seconds{{{self.whole}}}", [float(self.interval)] * MINUTES
        yield f"khealth_suspended{{{self.whole}}}", [float(self.suspended)] * MINUTES
        yield f"khealth_consecutive_failures{{{self.whole}}}", [float(self.in_a_row())] * MINUTES
        if (verdict := self.verdict()) is not None:
            yield f"khealth_success{{{self.whole}}}", [verdict] * MINUTES

    @property
    def own(self) -> str:
        cluster = f'cluster="{self.cluster}",' if self.cluster else ""
        return f'{cluster}job="khealth",instance="{self.instance}"'

    @property
    def whole(self) -> str:
        return f"{self.own},{self.labels}"

    def over(self, happened: Sequence[float]) -> list[float | None]:
        """Return a counter that rises an interval apart, the last time two minutes ago."""
        at = {MINUTES - 3 - (self.interval // 60) * (len(happened) - 1 - n): h for n, h in enumerate(happened)}
        return [sum(h for when, h in at.items() if when <= minute) for minute in range(MINUTES)]

    def in_a_row(self) -> int:
        count = 0
        for result in self.results:
            count = 0 if result == WELL else count + (result != "forbidden")
        return count

    def verdict(self) -> float | None:
        """Return the latest conclusive verdict; None where it is too old, or never was."""
        recent = [result for result in self.results[-3:] if result != "forbidden"]
        return float(recent[-1] == WELL) if recent and not self.suspended else None


def answered(
    tmp_path: Path, expression: str, replicas: Sequence[Replica], wanted: Mapping[str, float], minute: int = MINUTES - 1
) -> str:
    """Return what promtool has against an answer; "" if it is the wanted one."""
    series = [
        {"series": name, "values": " ".join("_" if value is None else f"{value:g}" for value in values)}
        for replica in replicas
        for name, values in replica.series()
    ]
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [
            {
                "expr": substituted(expression, VALUES),
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in wanted.items()],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run(  # noqa: S603 - Prometheus' own tool
        [needs("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def of(api_server: int, controller_manager: int, scheduler: int, node: int) -> dict[str, float]:
    """Return the states of components."""
    states = {
        "api_server": api_server,
        "controller_manager": controller_manager,
        "scheduler": scheduler,
        "node": node,
    }
    return {f'{{component="{name}"}}': state for name, state in states.items()}


SUSPENDED, GOOD, UNKNOWN, FAILING, BROKEN = (
    ask.STATES[name] for name in ("suspended", "healthy", "unknown", "failing", "broken")
)
STALLED = "pod_not_scheduled"
COMPONENTS = {
    "all is well": ([Replica([WELL] * 5)], of(GOOD, GOOD, GOOD, GOOD)),
    "one failure": ([Replica([WELL, STALLED])], of(UNKNOWN, UNKNOWN, FAILING, UNKNOWN)),
    "two failures in a row": ([Replica([WELL, STALLED, STALLED])], of(UNKNOWN, UNKNOWN, BROKEN, UNKNOWN)),
    "two failures with a success between": (
        [Replica([STALLED, WELL, STALLED])],
        of(UNKNOWN, UNKNOWN, FAILING, UNKNOWN),
    ),
    "over": ([Replica([STALLED, STALLED, WELL])], of(GOOD, GOOD, GOOD, GOOD)),
    "no room, again and again": ([Replica(["pod_unschedulable"] * 4)], of(UNKNOWN, UNKNOWN, FAILING, UNKNOWN)),
    "one node, again and again": ([Replica(["one_node"] * 4)], of(UNKNOWN, UNKNOWN, UNKNOWN, FAILING)),
    "one failure each of two": ([Replica([WELL, "api_timeout", STALLED])], of(FAILING, UNKNOWN, FAILING, UNKNOWN)),
    "nothing said": ([Replica(["forbidden"] * 4)], of(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)),
    "suspended": ([Replica(suspended=True)], of(SUSPENDED, SUSPENDED, SUSPENDED, SUSPENDED)),
    "a standby beside": (
        [Replica([WELL] * 4), Replica(instance="10.0.0.2:8080")],
        of(GOOD, GOOD, GOOD, GOOD),
    ),
    "a standby beside a failing one": (
        [Replica([STALLED] * 4), Replica(instance="10.0.0.2:8080")],
        of(UNKNOWN, UNKNOWN, BROKEN, UNKNOWN),
    ),
    "every five minutes": ([Replica([STALLED] * 3, interval=300)], of(UNKNOWN, UNKNOWN, BROKEN, UNKNOWN)),
    "every two hours": ([Replica([STALLED] * 3, interval=7200)], of(UNKNOWN, UNKNOWN, BROKEN, UNKNOWN)),
    "another routine gets on": (
        [Replica([STALLED] * 3), Replica([WELL] * 3, labels='module="m",routine="other"')],
        of(GOOD, GOOD, BROKEN, GOOD),
    ),
}


@pytest.mark.parametrize(("replicas", "wanted"), COMPONENTS.values(), ids=COMPONENTS)
def test_components_have_the_state_that_the_alerts_would_give_them(
    replicas: list[Replica], wanted: dict[str, float], tmp_path: Path
) -> None:
    """Broken is two failures in a row; tickets are never broken; what was not reached is unknown."""
    assert "" == answered(tmp_path, ask.component_state(ask.ROUTINE), replicas, wanted)


ROUTINES = {
    "well": (Replica([WELL]), GOOD),
    "failed": (Replica([WELL, STALLED]), FAILING),
    "failing": (Replica([STALLED] * 3), BROKEN),
    "silent": (Replica(["forbidden"] * 3), UNKNOWN),
    "suspended": (Replica(suspended=True), SUSPENDED),
}


@pytest.mark.parametrize(("replica", "wanted"), ROUTINES.values(), ids=ROUTINES)
def test_a_routine_has_one_state(replica: Replica, wanted: int, tmp_path: Path) -> None:
    """A standby's series make no difference."""
    states = {'{module="m",routine="r"}': wanted}
    assert "" == answered(
        tmp_path, ask.routine_state(ask.ROUTINE), [replica, Replica(instance="b", suspended=replica.suspended)], states
    )


OTHER = 'module="m",routine="other"'
CLUSTERS = {
    "all is well": ([Replica([WELL]), Replica([WELL], labels=OTHER)], GOOD),
    "one routine sees nothing": ([Replica([WELL]), Replica(["forbidden"] * 3, labels=OTHER)], UNKNOWN),
    "one fails, one sees nothing": ([Replica([WELL, STALLED]), Replica(["forbidden"] * 3, labels=OTHER)], FAILING),
    "one is broken, one sees nothing": ([Replica([STALLED] * 2), Replica(["forbidden"] * 3, labels=OTHER)], BROKEN),
    "one is suspended": ([Replica([WELL]), Replica(suspended=True, labels=OTHER)], GOOD),
    "one is suspended, one sees nothing": (
        [Replica(["forbidden"] * 3), Replica(suspended=True, labels=OTHER)],
        UNKNOWN,
    ),
    "all are suspended": ([Replica(suspended=True), Replica(suspended=True, labels=OTHER)], SUSPENDED),
    "no room, again and again": ([Replica(["pod_unschedulable"] * 4)], FAILING),
    "one failure each of two components": ([Replica([WELL, "api_timeout", STALLED])], FAILING),
    "a standby beside": ([Replica([WELL]), Replica(instance="10.0.0.2:8080")], GOOD),
}


@pytest.mark.parametrize(("replicas", "wanted"), CLUSTERS.values(), ids=CLUSTERS)
def test_a_cluster_is_as_its_worst_component_or_routine(replicas: list[Replica], wanted: int, tmp_path: Path) -> None:
    """Of one routine that sees nothing the others' success tells nothing; broken is what the alerts call so."""
    assert "" == answered(tmp_path, ask.cluster_state(ask.ROUTINE), replicas, {"{}": float(wanted)})


BLIND_ONE = [
    Replica([WELL], cluster="oslo"),
    Replica(["forbidden"] * 3, cluster="oslo", labels=OTHER),
    Replica([WELL], cluster="lisbon"),
]
COUNTED = {"healthy": 1.0, "unknown": 1.0}


@pytest.mark.parametrize(("name", "wanted"), COUNTED.items())
def test_a_cluster_of_which_a_routine_sees_nothing_is_not_counted_as_well(
    name: str, wanted: float, tmp_path: Path
) -> None:
    """Of two clusters one is well, and one unknown."""
    asked = expressions(FOLDER / "khealth-clusters.json")
    (tile,) = [each.expression for each in asked if each.panel == clusters.COUNTS[name][0]]
    assert "" == answered(tmp_path, tile, BLIND_ONE, {"{}": wanted})


def test_clusters_are_told_apart(tmp_path: Path) -> None:
    """The one scheduler's death leaves the other cluster well."""
    replicas = [Replica([STALLED] * 3, cluster="oslo"), Replica([WELL] * 3, cluster="lisbon")]
    wanted = {'{cluster="oslo"}': float(BROKEN), '{cluster="lisbon"}': float(GOOD)}
    assert "" == answered(tmp_path, ask.cluster_state(ask.EVERYWHERE, "cluster"), replicas, wanted)


WRONG = {
    "a failure": (Replica([STALLED] * 3), "scheduler", STALLED, 3.0),
    "nothing said": (Replica(["forbidden"] * 3), "khealth", "forbidden", 3.0),
}


@pytest.mark.parametrize(("replica", "component", "reason", "attempts"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(replica: Replica, component: str, reason: str, attempts: float, tmp_path: Path) -> None:
    """Component, reason, and how often."""
    labels = f'{{component="{component}",module="m",reason="{reason}",routine="r"}}'
    assert "" == answered(tmp_path, ask.wrong(ask.ROUTINE), [replica], {labels: attempts})


def test_a_khealth_that_is_gone_is_what_is_wrong(tmp_path: Path) -> None:
    """Silence is not health: what nobody scrapes has no series that could say so."""
    wanted = {'{component="khealth",reason="khealthabsent"}': 0.0}
    assert "" == answered(tmp_path, ask.missing(), [], wanted)
    there = Replica([WELL])
    assert "" == answered(tmp_path, ask.missing(), [there], {})


def test_a_cluster_that_is_there_is_not_gone(tmp_path: Path) -> None:
    """While one khealth of the cluster is scraped."""
    assert "" == answered(tmp_path, ask.gone(ask.EVERYWHERE), [Replica([WELL], cluster="oslo")], {})


def test_a_cluster_that_was_there_is_gone(tmp_path: Path) -> None:
    """Looked at ten minutes after its last scrape."""
    wanted = {'{cluster="oslo"}': 0.0}
    assert "" == answered(tmp_path, ask.gone(ask.EVERYWHERE), [Replica([WELL], cluster="oslo")], wanted, MINUTES + 10)


def test_nothing_is_wrong_while_all_is_well(tmp_path: Path) -> None:
    """Not even where something was, and is over."""
    assert "" == answered(tmp_path, ask.wrong(ask.ROUTINE), [Replica([STALLED, STALLED, "forbidden", WELL])], {})
