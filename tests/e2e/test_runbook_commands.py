"""Every kubectl command of the runbook, asked of a real cluster: kubectl and the API server understand it."""

import re
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec
import runbook
from deployment import kubectl
from runbook import Words
from tools import needs

TRIED = {"cordon", "uncordon"}
"""What would change something, and the API server can be asked to try out."""
CLOSED = "--server=https://127.0.0.1:1"
"""Where nobody listens: what may change something, or never ends, is parsed before that is found out."""
NOBODY = re.compile(r"\b127\.0\.0\.1:1\b.*refused")
CUSTOM = {"prometheusrules"}
"""Kinds that not every cluster has."""
NOT_THERE = re.compile(
    r"\(NotFound\)|not found|Metrics API not available|the server doesn't have a resource type \"(?:"
    + "|".join(CUSTOM)
    + r")\""
)
"""What may be said of a command that is right: of what it names there is none here."""
MISUSED = re.compile(
    r"unknown|usage|see 'kubectl|required|must|invalid|parse|expected|unable to|not supported", re.IGNORECASE
)
"""Words of a tool that rejects its arguments; none of them is in what NOT_THERE allows."""
AT_ONCE = 4
SECONDS = 25.0


def placed(words: Words, real: Mapping[str, str]) -> Words:
    """Return a command with the cluster's own objects where the runbook has words in capitals."""
    return tuple(re.sub(f"(?:{'|'.join(real)})(?!:\\.)", lambda found: real[found[0]], word) for word in words)


def safe(words: Words) -> Words:
    """Return a command that changes nothing, and ends."""
    told = runbook.verb(words)
    if told in TRIED:
        return (*words, "--dry-run=server")
    return words if told in runbook.READING else (*words, CLOSED)


def objection(words: Words) -> str:
    """Run kubectl; return what is said against the command itself, "" where that is nothing."""
    call = (needs("kubectl"), *safe(words)[1:])
    done = subprocess.run(call, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603
    allowed = NOBODY if CLOSED in call else NOT_THERE
    answered = done.returncode == 0 or ("can-i" in words and done.stdout.split()[:1] == ["no"])
    if answered or (allowed.search(done.stderr) and not MISUSED.search(allowed.sub("", done.stderr))):
        return ""
    return f"{' '.join(call[1:])}\n{done.stderr or done.stdout}"


def test_every_kubectl_command_of_the_runbook_is_understood() -> None:
    """Pasted at three in the morning, each gives an answer, or says that there is no such object."""
    said = kubectl("get", "nodes", "-o", "json").stdout
    node = msgspec.json.decode(said)["items"][0]["metadata"]["name"]
    real = {"CONTROL_PLANE_NODE": node, "NODE": node, "NAMESPACE": "default", "SERVICE": "kubernetes"}
    commands = list(dict.fromkeys(placed(words, real) for words in runbook.calls("kubectl")))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        objections = [told for told in pool.map(objection, commands) if told]
    assert (True, []) == (len(commands) > 100, objections)


def test_a_command_that_is_wrong_is_found() -> None:
    """Each kind of misspelling makes kubectl or the API server object."""
    wrong = (
        ("kubectl", "get", "pods", "--no-such-flag"),
        ("kubectl", "gett", "pods"),
        ("kubectl", "get", "podds"),
        ("kubectl", "get", "pods", "--field-selector=spec.nodename=x"),
        ("kubectl", "get", "nodes", "-o", "custom-columns=NAME:.metadata.name[,WHY:.status"),
        ("kubectl", "auth", "can-i"),
        ("kubectl", "logs"),
    )
    assert [] == [words for words in wrong if not objection(words)]
