"""What a PromQL expression asks for, and whether khealth, or a recording rule, has it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from khealth_exporter.modules import MODULES

ROOT = Path(__file__).parent.parent
ALERTS = ROOT / "alerts"
GOLDEN = ROOT / "tests" / "unit" / "golden" / "metrics.txt"

TARGET = {"cluster", "job", "instance", "namespace", "pod"}
"""Labels that Prometheus adds to whatever it scrapes."""
OTHERS: Mapping[str, Mapping[str, set[str] | None]] = {
    "ALERTS": {"alertname": None, "alertstate": {"pending", "firing"}, "severity": None, "component": None},
    "ALERTS_FOR_STATE": {"alertname": None, "severity": None, "component": None},
    "up": {},
}
"""Series that Prometheus makes itself; None: any value."""
LEVELS: Mapping[str, Sequence[str]] = {
    "cluster": (),
    "khealth": (),
    "reason": ("reason", "component"),
    "component": ("component",),
    "routine": ("module", "routine"),
    "routine_reason": ("module", "routine", "reason", "component"),
    "routine_component": ("module", "routine", "component"),
    "routine_severity": ("module", "routine", "severity", "component"),
    "routine_step": ("module", "routine", "step"),
    "routine_step_component": ("module", "routine", "step", "component"),
    "routine_le": ("module", "routine", "le"),
    "job": ("namespace", "job"),
    "job_start": ("namespace", "job", "start"),
    "target": ("namespace", "job", "instance", "pod"),
    "target_routine": ("namespace", "job", "instance", "pod", "module", "routine"),
    "target_reason": ("namespace", "job", "instance", "pod", "module", "routine", "reason"),
}
"""The labels of a record, by the first part of its name; `cluster` besides."""

_TOKEN = re.compile(
    r"""
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    |(?P<window>\[[^\]]*\])
    |(?P<variable>\$\{[^}]*\}|\$\w+)
    |(?P<number>(?:[0-9]+(?:ms|[smhdwy]))+|0x[0-9a-fA-F]+|[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<comment>\#[^\n]*)
    |(?P<space>\s+)
    |(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){},@])
    """,
    re.VERBOSE,
)
_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "start", "end"}
_CALLED = {"(", "by", "without"}
"""What follows a function or an aggregation."""
_RENAMING = {"label_replace": 1, "label_join": 1}
"""Functions that make a label, and which of their arguments names it."""


class NotRead(ValueError):  # noqa: N818 - it reads as what happened
    """An expression has something in it that is not PromQL as far as is known here."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label."""

    label: str
    sign: str
    value: str

    @property
    def values(self) -> list[str]:
        """The values that it names; of a regular expression, its alternatives, as long as each is a plain text."""
        if self.sign in {"=", "!="}:
            return [self.value]
        return [re.sub(r"\\+", "", text.replace("(\\.0)?", ".0")) for text in self.value.split("|")]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an expression asks for: series by name with conditions, labels to group and join by, labels that it makes."""

    selectors: tuple[tuple[str, tuple[Matcher, ...]], ...]
    labels: frozenset[str]
    made: frozenset[str]

    @property
    def names(self) -> set[str]:
        """The names of the series."""
        return {name for name, _ in self.selectors}


def tokens(expression: str) -> list[tuple[str, str]]:
    """Return the kind and the text of each token; NotRead where there is none."""
    found, place = [], 0
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None:
            raise NotRead(f"{expression!r}: what is {expression[place : place + 20]!r}?")
        place = match.end()
        if match.lastgroup not in {"space", "comment"}:
            found.append((str(match.lastgroup), match.group()))
    return found


def asked(expression: str) -> Asked:
    """Return what an expression asks for; NotRead where that cannot be told."""
    found = tokens(expression)
    selectors: list[tuple[str, tuple[Matcher, ...]]] = []
    labels: set[str] = set()
    place = 0
    while place < len(found):
        kind, text = found[place]
        after = found[place + 1][1] if place + 1 < len(found) else ""
        place += 1
        if kind == "name" and text in _LISTS:
            if after == "(":
                end = _closing(found, place)
                labels |= {name for kind, name in found[place:end] if kind == "name"}
                place = end + 1
        elif text == "{" or (kind == "name" and after not in _CALLED and text.lower() not in _WORDS):
            name = "" if text == "{" else text
            begin = place - 1 if text == "{" else place
            matchers: tuple[Matcher, ...] = ()
            if text == "{" or after == "{":
                place = _closing(found, begin) + 1
                matchers = tuple(_matchers(found[begin + 1 : place - 1]))
            selectors += _named(name, matchers)
    return Asked(tuple(selectors), frozenset(labels), frozenset(_made(found)))


def _closing(found: Sequence[tuple[str, str]], begin: int) -> int:
    """Return where the bracket that opens at `begin` is closed."""
    ends = {"(": ")", "{": "}"}
    opening, depth = found[begin][1], 0
    for place in range(begin, len(found)):
        depth += (found[place][1] == opening) - (found[place][1] == ends[opening])
        if not depth:
            return place
    raise NotRead(f"{opening} is never closed")


def _matchers(inside: Sequence[tuple[str, str]]) -> Iterator[Matcher]:
    parts = [part for part in inside if part[1] != ","]
    for (_, label), (_, sign), (kind, value) in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if kind != "string":
            raise NotRead(f"{label}{sign}{value}: a value is a string")
        yield Matcher(label, sign, _unquoted(value))


def _unquoted(text: str) -> str:
    return text[1:-1] if text[0] == "`" else re.sub(r"\\(.)", r"\1", text[1:-1])


def _named(name: str, matchers: tuple[Matcher, ...]) -> Iterator[tuple[str, tuple[Matcher, ...]]]:
    """Yield the selector once for each name; `__name__` may give several."""
    others = tuple(matcher for matcher in matchers if matcher.label != "__name__")
    names = [value for matcher in matchers if matcher.label == "__name__" for value in matcher.values]
    for one in [name] if name else names:
        yield one, others


def _made(found: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the labels that the expression makes."""
    for place, (_, text) in enumerate(found):
        if text in _RENAMING:
            depth, argument = 0, 0
            for kind, inner in found[place + 1 : _closing(found, place + 1)]:
                depth += (inner in "({") - (inner in ")}")
                argument += inner == "," and depth == 1
                if kind == "string" and depth == 1 and argument == _RENAMING[text]:
                    yield _unquoted(inner)
                    break


Series = Mapping[str, Mapping[str, set[str] | None]]
"""By name, each label with its values, or None where it may have any."""


@cache
def golden() -> Series:
    """Return what khealth exposes: in the golden file, and figures of routines that are not in it."""
    known: dict[str, dict[str, set[str] | None]] = {}
    for module in MODULES:
        for kind in module.routines:
            for figure in kind.figures:
                labels = known.setdefault(f"khealth_{figure.name}", {"module": set(), "routine": set()})
                for label, value in (("module", module.name), ("routine", kind.name)):
                    values = labels[label]
                    assert values is not None
                    values.add(value)
    for line in GOLDEN.read_text().splitlines():
        match = re.match(r"(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? ", line)
        if match and not line.startswith("#"):
            labels = known.setdefault(match["name"], {})
            for label, value in re.findall(r'(\w+)="([^"]*)"', match["labels"] or ""):
                values = labels.setdefault(label, set())
                assert values is not None
                values.add(value)
    return known


def rules(folder: Path = ALERTS) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every rule with the file that it is in, in order."""
    for path in sorted(folder.glob("*.rules.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield path, rule


@cache
def records() -> Series:
    """Return what the recording rules make; a name says its labels."""
    known: dict[str, dict[str, set[str] | None]] = {}
    values = closed()
    for _, rule in rules():
        if "record" in rule:
            level = rule["record"].partition(":")[0]
            known[rule["record"]] = {label: values.get(label) for label in ("cluster", *LEVELS[level])}
    return known


OPEN = {"severity", "module", "routine", "cluster", "version", "python_version", "code", "verb", "resource"}
"""Labels whose values are not khealth's to list: the golden file has examples."""


@cache
def closed() -> Mapping[str, set[str]]:
    """Return all values of each label of khealth's that has a closed list of them."""
    values = {"step": {step.name for module in MODULES for kind in module.routines for step in kind.steps}}
    for labels in golden().values():
        for label, some in labels.items():
            if label not in OPEN and some is not None:
                values.setdefault(label, set()).update(some)
    return values


def wrong(expression: str) -> list[str]:
    """Return what an expression asks for that there is not: series, labels, values. Grafana's `$variables` are any."""
    found, complaints = asked(expression), []
    there: set[str] = TARGET | found.made
    for name, matchers in found.selectors:
        labels = {**golden(), **records(), **OTHERS}.get(name)
        if labels is None:
            complaints.append(f"there is no {name}")
            continue
        there |= labels.keys()
        for matcher in matchers:
            if matcher.label not in labels.keys() | TARGET:
                complaints.append(f"{name} has no label {matcher.label}")
            elif matcher.label in closed() and "$" not in matcher.value:
                unknown = [value for value in matcher.values if value and value not in closed()[matcher.label]]
                complaints += [f"{name} has no {matcher.label} {value}" for value in unknown]
    return complaints + [f"nothing has a label {label}" for label in sorted(found.labels - there)]
