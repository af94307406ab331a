"""The runbook's sections and commands, as tests look at them."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from markdown_it.token import Token

from deploy.runbook import SOURCE, headings, markdown

ROOT = Path(__file__).parent.parent
TEXT = SOURCE.read_text(encoding="utf-8")
INTRODUCTION = "At three in the morning"
"""The group of sections that stand for no alert and no reason."""
PARTS = (
    "What it means",
    "What it does not mean",
    "First five commands",
    "Likely causes, in order",
    "[Silence](#how-to-silence)",
)
SILENCE = f"**{PARTS[-1]}.** "
"""How the last part of a section begins."""
PROGRAMS = {"kubectl", "khealth", "amtool", "ssh", "curl", "grep"}

READING = {"get", "describe", "logs", "events", "top", "auth", "cluster-info", "version", "exec"}
"""What kubectl may be told without changing anything; `exec` runs what only looks."""

Words = tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """What is said of one alert or one reason: its parts by name, each with its blocks of commands."""

    name: str
    group: str
    parts: tuple[tuple[str, tuple[str, ...]], ...]
    silence: str = ""
    """The text of its last part."""

    @property
    def silenced(self) -> tuple[str, str] | None:
        """The alert to silence, and for how long; None where it is not to be silenced."""
        said = re.match(r"\[?`(Khealth\w+)`(?:\]\(#\w+\))?, (\d+[mh])[.,]", self.silence)
        return (said[1], said[2]) if said else None

    @property
    def first(self) -> tuple[str, ...]:
        """The commands that come first."""
        return dict(self.parts).get(PARTS[2], ())

    @property
    def commands(self) -> tuple[str, ...]:
        """Every command."""
        return tuple(command for _, commands in self.parts for command in commands)


def sections(text: str = TEXT) -> list[Section]:
    """Return every section but the introduction's."""
    return [section for section in _sections(markdown().parse(text)) if section.group != INTRODUCTION]


def _sections(tokens: Sequence[Token]) -> Iterator[Section]:
    begins = [(tokens.index(token), token.tag, name) for token, name in headings(tokens)]
    group = ""
    for (begin, tag, name), (end, *_) in zip(begins, [*begins[1:], (len(tokens), "", "")], strict=True):
        if tag == "h3":
            last = next((token.content for token in reversed(tokens[begin:end]) if SILENCE in token.content), "")
            yield Section(name, group, tuple(_parts(tokens[begin:end])), last.partition(SILENCE)[2])
        else:
            group = name


def _parts(tokens: Sequence[Token]) -> Iterator[tuple[str, tuple[str, ...]]]:
    name, commands = "", list[str]()
    for token in tokens:
        if lead := re.match(r"\*\*(.+?)\.?\*\*", token.content) if token.type == "inline" else None:
            if name:
                yield name, tuple(commands)
            name, commands = lead[1], []
        elif token.type == "fence":
            commands += token.content.splitlines()
    yield name, tuple(commands)


def commands(text: str = TEXT) -> list[str]:
    """Return every command: those of the blocks, and those in the midst of a sentence."""
    tokens = markdown().parse(text)
    blocks = [line for token in tokens if token.type == "fence" for line in token.content.splitlines()]
    said = [token.content for token in codes(text) if re.match(r"(kubectl|khealth|amtool) \S+", token.content)]
    return list(dict.fromkeys([*blocks, *said]))


def codes(text: str = TEXT) -> list[Token]:
    """Return what stands in back-quotes within sentences."""
    inline = (token.children or [] for token in markdown().parse(text) if token.type == "inline")
    return [child for children in inline for child in children if child.type == "code_inline"]


def stages(command: str) -> list[Words]:
    """Return the programs of a pipeline, each with its arguments; ValueError where a quote is not closed."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|;&<>()")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word == "|":
            found.append([])
        else:
            found[-1].append(word)
    return [tuple(words) for words in found]


def verb(words: Words) -> str:
    """Return what kubectl is told to do."""
    rest = list(words[1:])
    while rest and rest[0].startswith("-"):
        rest = rest[2:] if rest[0] in ("-n", "--namespace") else rest[1:]
    return rest[0]


def calls(program: str) -> list[Words]:
    """Return every distinct call of a program in the runbook."""
    found = (words for command in commands() for words in stages(command))
    return list(dict.fromkeys(words for words in found if words[0] == program))


def alerts(folder: Path = ROOT / "alerts") -> list[str]:
    """Return the name of every alert that there is a rule for, each once."""
    return list(dict.fromkeys(rule["alert"] for rule in _rules(folder)))


def components(folder: Path = ROOT / "alerts") -> dict[str, str]:
    """Return the component of each alert that has one and the same, whatever it fires for."""
    return {rule["alert"]: rule["labels"]["component"] for rule in _rules(folder) if "component" in rule["labels"]}


def lasting(folder: Path = ROOT / "alerts") -> dict[str, str]:
    """Return for how long each alert keeps firing after its cause, as Prometheus writes it; where it does."""
    return {rule["alert"]: rule["keep_firing_for"] for rule in _rules(folder) if "keep_firing_for" in rule}


@cache
def _rules(folder: Path) -> Sequence[dict[str, Any]]:
    documents = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.rules.yaml")))
    rules = (rule for document in documents for group in document["groups"] for rule in group["rules"])
    return [rule for rule in rules if "alert" in rule]
