"""The runbook has all that it should, and nothing in it is made up."""

import re
from pathlib import Path

import pytest
import runbook
import yaml
from deployment import ran
from promql import rules
from runbook import PARTS, PROGRAMS, Section, Words
from tools import needs

from deploy.runbook import ROOT, headings, markdown, rendered, slug
from khealth_exporter.cli.arguments import parse
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result

SECTIONS = runbook.sections()
COMMANDS = runbook.commands()
GROUPS = {
    "api_server": "API server",
    "controller_manager": "Controller manager",
    "scheduler": "Scheduler",
    "node": "Nodes",
    "registry": "Registry",
    "dns": "DNS",
    "network": "Network",
    "storage": "Storage",
    "workload": "Users' checks",
    "khealth": "khealth itself",
}
"""The group of sections that each component has."""
LOOKING = {"cat", "python", "etcdctl"}
ENDLESS = {"-f", "-w", "--follow", "--watch", "--watch-only"}
"""What never ends by itself."""
SPECIAL = re.compile(r"[*?\[\]{}~$!#&;<>()`\\]")
"""What a shell would take for something else, outside of quotes; zsh more of it than others."""
CLOSED = "http://127.0.0.1:1"
BLOCKS = [token.content.splitlines() for token in markdown().parse(runbook.TEXT) if token.type == "fence"]
REMOVING = re.compile(r"(^|[;|&] *|sudo |systemctl |crictl )(rm|rmp|mv|kill|reboot|restart|stop|stopp)\b")
"""What a command on a node changes something by."""
STILL = "still inhibits every other page"
CHECKS = {Reason.CHECK_FAILED, Reason.CHECK_SILENT}
"""Reasons whose component is the one that a check is about, and whose alerts are its severity's."""
SURPRISES = [
    ("At three in the morning", "it creates objects and deletes them again"),
    ("At three in the morning", "close such pages by hand"),
    ("How to silence", STILL),
    ("KhealthApiServerBroken", STILL),
    ("KhealthApiServerBroken", "Close by hand the pages"),
    ("KhealthApiServerOverloaded", "it inhibits no page"),
    ("KhealthApiServerRefuses", "It inhibits no other page"),
    ("api_rejected", STILL),
    ("webhook_failed", STILL),
    ("KhealthAbsent", "for three days"),
    ("KhealthRestarting", "Replicas that run at once do not count"),
    ("KhealthLeftovers", "scale its Deployment to 0"),
]
"""What a section must say, for nobody expects it at night."""

every_section = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)


def test_every_alert_and_every_reason_has_one_section_and_nothing_else_has_one() -> None:
    """Each alert and reason has a section, and no section is about something that cannot happen."""
    alerts = runbook.alerts()
    assert alerts, "alerts/*.rules.yaml hold no alert"
    assert sorted([*alerts, *Reason]) == sorted(section.name for section in SECTIONS)


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_stands_with_its_component(reason: Reason) -> None:
    """Who looks for a component's reasons finds them together; `slow` has none, and is a canary's on a node so far."""
    other = Component.WORKLOAD if reason in CHECKS else Component.NODE
    assert [GROUPS[reason.component or other]] == [section.group for section in SECTIONS if section.name == reason]


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.result is Result.INCONCLUSIVE])
def test_what_is_inconclusive_is_called_so(reason: Reason) -> None:
    """Nobody blames the cluster for what khealth could not find out."""
    text = runbook.TEXT.partition(f"### {reason}\n")[2].strip()
    assert text.startswith("**What it means.** Inconclusive: ")


@every_section
def test_a_section_has_its_five_parts_in_order(section: Section) -> None:
    """All sections have the same order."""
    assert PARTS == tuple(name for name, _ in section.parts)


@every_section
def test_a_section_begins_with_five_commands(section: Section) -> None:
    """Five, each another one: more nobody reads at three in the morning."""
    assert (5, 5) == (len(section.first), len(set(section.first)))


@every_section
def test_a_section_says_how_to_silence_or_to_mend(section: Section) -> None:
    """Its last part names what to silence, or has a command."""
    assert section.silenced or dict(section.parts)[PARTS[-1]]


def test_the_command_that_silences_is_said_once() -> None:
    """Every section links to it."""
    assert [("alertname=ALERT", "cluster=CLUSTER")] * 2 == [words[5:7] for words in silences()]
    assert 2 == runbook.TEXT.count("amtool silence add")


@every_section
def test_the_first_commands_change_nothing(section: Section) -> None:
    """A hasty copy breaks nothing."""
    found = [words for command in section.first for words in runbook.stages(command) if words[0] == "kubectl"]
    verbs = {runbook.verb(words) for words in found}
    executed = {words[words.index("--") + 1] for words in found if runbook.verb(words) == "exec"}
    assert (set(), set()) == (verbs - runbook.READING, executed - LOOKING)


def changes(command: str) -> bool:
    """Return whether a command changes the cluster, or one of its machines."""
    return any(
        (words[0] == "kubectl" and runbook.verb(words) not in runbook.READING)
        or (words[:2] == ("khealth", "sweep") and "--dry-run" not in words)
        or (words[:2] == ("khealth", "once"))
        or (words[0] == "ssh" and bool(REMOVING.search(words[-1])))
        or (words[0] == "curl" and bool({"-X", "--request", "-d", "--data"} & set(words)))
        for words in runbook.stages(command)
    )


def test_what_changes_something_stands_in_a_block_of_its_own() -> None:
    """Who copies a whole block does nothing that he did not mean; the opening five say so of `khealth once`."""
    beside = [block for block in BLOCKS if len(block) > 1 and any(map(changes, block))]
    assert [BLOCKS[0]] == beside


def test_of_the_opening_commands_one_alone_changes_something() -> None:
    """It stands last, and what it does is said beside it."""
    assert ["khealth once"] == [command for command in BLOCKS[0] if changes(command)]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("khealth sweep --all", True), ("khealth sweep", True), ("khealth sweep --dry-run", False),
        ("kubectl cordon NODE", True), ("kubectl -n khealth get pods", False), ("ssh NODE 'sudo reboot'", True),
        ("ssh NODE 'systemctl status kubelet'", False), ("curl -X POST http://NODE:31337/-/reload", True),
        ("kubectl get pods | grep x", False),
    ],
)  # fmt: skip
def test_what_changes_something_is_told_from_what_looks(command: str, expected: bool) -> None:
    """The test before this one sees what it looks for."""
    assert expected is changes(command)


@pytest.mark.parametrize(("heading", "words"), SURPRISES)
def test_what_nobody_expects_is_said(heading: str, words: str) -> None:
    """Where it is looked for."""
    section = re.split(r"\n##+ ", runbook.TEXT.partition(f"# {heading}\n")[2])[0]
    assert words in " ".join(section.split())


@pytest.mark.parametrize("path", ["alerts/alertmanager.yaml", "docs/alerts.md"])
def test_what_inhibition_does_not_do_is_said_where_it_is_configured(path: str) -> None:
    """A silence does not end it, and what resolves under it is never called so."""
    text = " ".join((ROOT / path).read_text().replace("#", "").lower().split())
    words = ("silence", "resolves while it is inhibited never sends its", "close by hand")
    assert [] == [word for word in words if word not in text]


def test_how_long_a_page_outlasts_the_outage_is_said_as_it_is() -> None:
    """The figures are those of the rules."""
    lasting = {name: length for name, length in runbook.lasting().items() if name.endswith("Broken")}
    api_server = lasting.pop("KhealthApiServerBroken")
    (said,) = re.findall(
        r"resolves (\d+) minutes after the first success, for the API server after (\d+) minutes", runbook.TEXT
    )
    assert ({f"{said[0]}m"}, f"{said[1]}m") == (set(lasting.values()), api_server)


ALERTS = {
    Reason.API_UNREACHABLE: "KhealthApiServerBroken",
    Reason.API_TIMEOUT: "KhealthApiServerBroken",
    Reason.API_ERROR: "KhealthApiServerBroken",
    Reason.API_REJECTED: "KhealthApiServerRefuses",
    Reason.WEBHOOK_FAILED: "KhealthApiServerRefuses",
}


@pytest.mark.parametrize(("reason", "alert"), ALERTS.items())
def test_a_reason_of_the_api_server_silences_the_alert_that_it_raises(reason: Reason, alert: str) -> None:
    """One that does not answer is another page than one that refuses."""
    (section,) = (section for section in SECTIONS if section.name == reason)
    assert section.silenced
    assert alert == section.silenced[0]


def test_no_command_waits_for_ever() -> None:
    """What follows or watches would keep the next command from its turn."""
    found = (words for command in COMMANDS for words in runbook.stages(command) if words[0] == "kubectl")
    assert [] == [words for words in found if ENDLESS & set(words[1 : words.index("--") if "--" in words else None])]


def test_every_program_is_one_that_an_administrator_has() -> None:
    """Nothing has to be installed first."""
    assert PROGRAMS == {words[0] for command in COMMANDS for words in runbook.stages(command)}


def test_every_command_can_be_pasted_into_any_shell() -> None:
    """Quotes are closed, and outside of them nothing is special: not even in zsh."""
    assert [] == [command for command in COMMANDS if SPECIAL.search(re.sub(r"'[^']*'", "", command))]


def test_what_is_run_on_a_node_is_one_word_that_its_shell_takes() -> None:
    """`ssh NODE '…'`: nothing of it is taken by the shell at home, and the one over there has nothing against it."""
    found = runbook.calls("ssh")
    done = ran("sh", "-n", "-c", "\n".join(words[2] for words in found))
    assert ({3}, "") == ({len(words) for words in found}, done.stderr)


def test_every_placeholder_is_explained() -> None:
    """A word in capitals is one of the table's."""
    explained = set(re.findall(r"`([A-Z_]+)`", runbook.TEXT.partition("| word | is |")[2].partition("\n\n")[0]))
    plain = (re.sub(r"custom-columns=[^']*|query=[^']*", "", command) for command in COMMANDS)
    assert explained == {word for command in plain for word in re.findall(r"(?<![\w\[])[A-Z][A-Z_]+(?!\w)", command)}


@pytest.mark.parametrize("words", runbook.calls("khealth"), ids=" ".join)
def test_a_command_of_khealths_own_is_one(words: Words) -> None:
    """Its parser takes it."""
    assert words[1] == parse(words[1:]).command


@pytest.mark.parametrize("words", runbook.calls("amtool"), ids=" ".join)
def test_a_command_of_amtool_is_one(words: Words) -> None:
    """Its parser takes it: what it has against it is only that nobody listens."""
    filled = [word.replace("DURATION", "1h") for word in words[1:]]
    done = ran(needs("amtool"), *filled, f"--alertmanager.url={CLOSED}", check=False)
    assert "connection refused" in done.stderr


def silences() -> list[Words]:
    """Return every call that silences something."""
    return [words for words in runbook.calls("amtool") if words[1:3] == ("silence", "add")]


def test_what_is_silenced_is_an_alert() -> None:
    """By its whole name."""
    assert {section.silenced[0] for section in SECTIONS if section.silenced} <= set(runbook.alerts())


def test_what_silences_has_a_time_and_a_reason() -> None:
    """Nothing is silenced for good, and nobody has to ask why."""
    assert {("--duration=DURATION", "--comment=WHY")} == {words[3:5] for words in silences()}


@every_section
def test_an_alerts_section_silences_that_alert_alone(section: Section) -> None:
    """A copy of it silences nothing else."""
    named = section.silenced[0] if section.silenced else section.name
    assert not section.name.startswith("Khealth") or named == section.name


@pytest.mark.parametrize("reason", sorted(CHECKS))
def test_a_checks_section_silences_an_alert_of_checks(reason: Reason) -> None:
    """Which of the two depends on the check's severity."""
    (section,) = (section for section in SECTIONS if section.name == reason)
    assert section.silenced
    assert section.silenced[0].startswith("KhealthCheck")


@pytest.mark.parametrize("reason", [r for r in Reason if r.result is Result.FAILURE and r not in CHECKS])
def test_a_reasons_section_silences_an_alert_of_its_component(reason: Reason) -> None:
    """What is silenced is what the reason makes fire; what must never be wrong is not silenced at all."""
    (section,) = (section for section in SECTIONS if section.name == reason)
    components = {runbook.components().get(section.silenced[0])} if section.silenced else set()
    assert (set() if reason in INTEGRITY else {reason.component or Component.NODE}) == components


INTEGRITY = {Reason.DATA_CORRUPTED, Reason.WRONG_RESULT, Reason.WRONGLY_COLLECTED, Reason.ADMISSION_BYPASSED}


def test_what_pages_at_once_is_what_must_never_be_wrong() -> None:
    """The rules name the same reasons."""
    recorded = next(r["expr"] for _, r in rules() if r.get("record") == "reason:khealth_reason_info:integrity")
    assert [INTEGRITY] == [set(found.split("|")) for found in re.findall(r'reason=~"([^"]*)"', recorded)]


def scraped() -> list[str]:
    """Return each pattern that is looked for among khealth's metrics."""
    pipes = [runbook.stages(command) for command in COMMANDS]
    return sorted({pipe[1][-1] for pipe in pipes if pipe[0][-1].endswith(":31337/metrics")})


@pytest.mark.parametrize("pattern", scraped())
def test_what_is_looked_for_among_the_metrics_is_there(pattern: str, golden_folder: Path) -> None:
    """A misspelt name would show nothing, which looks like health."""
    assert re.search(pattern, (golden_folder / "metrics.txt").read_text(), re.MULTILINE)


def queries() -> list[str]:
    """Return each query of Prometheus."""
    words = (words for command in COMMANDS for words in runbook.stages(command) if words[0] == "curl")
    return sorted({word.removeprefix("query=") for call in words for word in call if word.startswith("query=")})


def test_every_query_is_one(tmp_path: Path) -> None:
    """Prometheus' own parser takes it."""
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries())]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(rules)} rules found" in ran(needs("promtool"), "check", "rules", str(tmp_path / "rules.yaml")).stdout


def test_every_series_that_is_queried_is_there(golden_folder: Path) -> None:
    """Khealth exposes it, or a rule records it."""
    known = (golden_folder / "metrics.txt").read_text() + "".join(
        path.read_text() for path in (ROOT / "alerts").glob("*.rules.yaml")
    )
    named = {name for query in queries() for name in re.findall(r"[\w:]*khealth_[\w:]+", query)}
    assert (True, set()) == (bool(named), {name for name in named if not re.search(rf"(?<![\w:]){name}\b", known)})


def test_every_value_of_the_chart_that_is_named_is_one() -> None:
    """Nobody looks for a value that there is not."""
    values = yaml.safe_load((ROOT / "deploy" / "chart" / "values.yaml").read_text())
    wrong = []
    for token in runbook.codes():
        path = token.content.split(":")[0].split(".")
        if path[0] in values and len(path) > 1:
            found = values
            for key in path:
                if not isinstance(found, dict) or key not in found:
                    wrong.append(token.content)
                    break
                found = found[key]
    assert [] == wrong


def test_every_link_within_the_runbook_leads_somewhere() -> None:
    """An anchor is that of exactly one heading."""
    anchors = [slug(name) for _, name in headings(markdown().parse(runbook.TEXT))]
    linked = set(re.findall(r"\]\(#([^)]+)\)", runbook.TEXT))
    assert (len(anchors), set()) == (len(set(anchors)), linked - set(anchors))


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("KhealthSchedulerBroken", "khealthschedulerbroken"),
        ("pod_not_scheduled", "pod_not_scheduled"),
        ("API server", "api-server"),
        ("What to do, at 3 o'clock?", "what-to-do-at-3-oclock"),
    ],
)
def test_an_anchor_is_as_github_makes_it(heading: str, anchor: str) -> None:
    """Links work there as well as on khealth's own page."""
    assert anchor == slug(heading)


def test_html_in_the_runbook_is_text() -> None:
    """It is rendered as it stands, and never as markup."""
    assert "<p>&lt;b&gt;</p>" in rendered("# A\n\n<b>\n")
