"""Checks the English of all text that users read: with proselint, and with our own list of words and longest sentence."""

import ast
import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry
from proselint.checks import __register__ as shipped
from proselint.config import Config
from proselint.registry import CheckRegistry
from proselint.registry.checks import Check, CheckFlags, CheckResult, Padding, types
from proselint.tools import LintFile

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "khealth_exporter"
BREAK = "¤"
"""Separates texts, so that no pattern matches across two of them, and replaces code."""
LONGEST_SENTENCE = 36
"""Words."""

OFF = ("typography.symbols", "typography.diacritical_marks", "weasel_words.very")
"""proselint's checks that do not fit: straight quotes and `...` are correct here, *resume* is a verb, and WORDS has *very*."""

WORDS = {
    # Archaic words and constructions.
    r"anew": "again",
    r"whom": "who",
    r"for\s+ever": "indefinitely",
    r"lest": "so that … does not",
    r"of\s+late": "recently",
    r"whichever": "any",
    r"whoever|whomever|who\s+ever": "the person who, anyone who",
    r"by\s+where": "by reason",
    r"nobody|everybody|somebody|anybody": "no one, everyone, someone, anyone; better: name the subject",
    r"who\s+stands": "name the subject",
    r"(?:there|here|where)(?:by|in|of|to|upon|with|unto)": "by this, in which",
    r"whence|hence|thence|henceforth|hitherto|heretofore": "from where, so",
    r"very": "nothing",
    r"ought|shall|needs\s+must": "must, should",
    r"besides?": "next to, in addition to, outside",
    r"(?:is|are|was|were|be|been|being)\s+told": "is reported, is logged",
    r"tell(?:s|ing)?\s+of": "report",
    r"(?:in|into)\s+force": "active, takes effect",
    r"to\s+the\s+letter": "exactly",
    r"but\s+for|all\s+but": "except",
    r"mend(?:s|ed|ing)?": "fix",
    r"any\s+more": "no longer",
    r"(?:go|goes|went|going)\s+on": "continue",
    r"(?:is|are|was|were|be|still)\s+well": "healthy",
    r"at\s+work": "running, active",
    r"as\s+it\s+may": "as soon as it can",
    r"the\s+least\s+(?:that|of)": "minimum",
    r"what\s+there\s+is": "name it",
    r"(?:is|are)\s+asked\s+of": "query",
    r"put\s+down\s+to": "attributed to",
    r"(?:ever|evermore)\s+(?:more|less)\s+\w+": "increasingly",
    r",\s+say|(?-i:Say)\s+(?:where|which|what|that)": "for example, specify",
    r"under\s+way": "in progress",
    r"seldom(?:er)?": "rarely",
    r"so\s+far\s+as|as\s+far\s+as": "if",
    r"rights?\s+to|(?:which|its|their|all|no|the|missing|needs)\s+rights": "permission",
    # The field's words.
    r"itself\s+is\s+at\s+fault|own\s+fault": "internal error",
    r"time-outs?": "timeout",
    r"less\s+sharp": "less precise",
    r"said\s+what\s+cannot\s+be\s+read": "cannot decode",
    # American spelling.
    r"\w*(?:colour|behaviour|neighbour|favour|honour|labour|rumour)\w*": "-or",
    r"(?:organi|recogni|initiali|normali|seriali|optimi|minimi|maximi|summari|prioriti|customi|authori|synchroni"
    r"|categori|finali|generali|speciali|utili|visuali|standardi|tokeni|emphasi|randomi|parameteri|saniti|memori)"
    r"s(?:e[ds]?|ers?|ing|ations?)": "-ize",
    r"(?:label|cancel|travel|model|signal|tunnel|level)l(?:ed|ing|er)": "-led, -ling with one l",
    r"licence|defence|offence": "-se",
    r"centre[ds]?|metres?|fibres?": "-er",
    r"grey|catalogues?|artefacts?|judgements?|whilst|amongst|programmes?|analyse[ds]?|dialogue": "the American spelling",
}
"""Patterns of whole words, and what to write instead."""
_TO_THE_FULL_STOP = rf"\b[^.?{BREAK}]*(?:\.\S[^.?{BREAK}]*)*\.\s"
SENTENCES = {
    rf"\b(?-i:Who)\s+(?:does|has|is|takes|sets|wants|asks|looks|needs|reads){_TO_THE_FULL_STOP}": "If you …",
    rf"\b(?-i:What)\s+(?:is|was|were|cannot|can|has|had|others){_TO_THE_FULL_STOP}": "a noun first",
}
"""Patterns of sentences that begin with a question word and are no question, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text that users read, and where it is."""

    where: str
    text: str


def _long_sentences(text: str, check: Check) -> Iterator[CheckResult]:
    for found in re.finditer(rf"[^.?!{BREAK}]+(?:[.?!](?=\S)[^.?!{BREAK}]*)*", text):
        words = re.findall(r"[\w'/-]+", found[0])
        if len(words) > LONGEST_SENTENCE:
            start = found.end() - len(found[0].lstrip())  # the sentence's first word, not the line break before it
            message = f"{len(words)} words, more than {LONGEST_SENTENCE}: {' '.join(words[:5])} …"
            yield CheckResult(check.path, message, (start + 1, found.end()), None)


OWN = (
    Check(
        check_type=types.PreferredForms({f"(?:{pattern})": advice for pattern, advice in WORDS.items()}),
        path="khealth.words",
        message="'{1}': write {0}",
        flags=CheckFlags(allow_quotes=True),
    ),
    Check(
        check_type=types.PreferredForms(SENTENCES, padding=Padding.RAW),
        path="khealth.words",
        message="'{1}': write {0}",
        flags=CheckFlags(allow_quotes=True),
    ),
    Check(check_type=_long_sentences, path="khealth.sentence", flags=CheckFlags(allow_quotes=True)),
)
CHECKS: dict[str, bool] = {
    **dict.fromkeys(OFF, False),
    **{check.path.partition(".")[0]: not check.path.startswith("restricted") for check in (*shipped, *OWN)},
}


def problems(lines: Sequence[Line]) -> Iterator[str]:
    """Yield what is wrong with a text, line by line."""
    registry = CheckRegistry()
    if not registry.checks:
        registry.register_many((*shipped, *OWN))
    text = "\n".join(line.text for line in lines)
    if not text:
        return
    for found in LintFile("text", text).lint(Config(max_errors=1000, checks=CHECKS)):
        number = min(max(found.pos[0], 1), len(lines)) - 1
        yield f"{lines[number].where}: {found.check_result.check_path}: {' '.join(found.check_result.message.split())}"


def markdown_lines(name: str, text: str) -> Iterator[Line]:
    """Yield the prose of a Markdown page: code, comments and addresses are blanked, and blocks are kept apart."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", BREAK, found[0])

    text = re.sub(r"<!-- (alerts):.*?<!-- end of \1 -->", blank, text, flags=re.DOTALL)  # checked where it comes from
    text = re.sub(r"^( *)(```|~~~).*?^\1\2$", blank, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", blank, text, flags=re.DOTALL)
    text = re.sub(r"(`+).+?\1", lambda found: "`" * len(found[0]), text)
    text = re.sub(r"(?<=\])\([^)\s]*\)", "", text)
    text = re.sub(r"https?://\S+", "`", text)
    for number, line in enumerate(text.splitlines(), 1):
        prose = (
            re.sub(r"^\s*(?:[-*]|\d+\.|>)\s", f"{BREAK} ", line)
            .replace("|", BREAK)
            .replace("*", "")
            .replace("[", "")
            .replace("]", "")
        )
        if prose.startswith("#"):
            prose = f"{BREAK} {prose.lstrip('# ')} {BREAK}"
        yield Line(f"{name}:{number}", prose if prose.strip() else BREAK)


def markdown() -> Iterator[list[Line]]:
    """Yield each page; the runbook belongs to the alerts."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in sorted(set(listed)):
        if not name.startswith("alerts/") and (ROOT / name).is_file():
            yield list(markdown_lines(name, (ROOT / name).read_text()))


def said(where: str, *texts: str) -> Iterator[Line]:
    """Yield the lines of texts that are kept apart."""
    for text in texts:
        for line in text.splitlines():
            yield Line(where, re.sub(r"`[^`]*`|\{\{.*?\}\}", lambda found: "`" * len(found[0]), line))
        yield Line(where, BREAK)


def _printed(arguments: Sequence[str]) -> str:
    # Imported late: one kind of text can be checked while another's source is not whole.
    from khealth_exporter.cli import main  # noqa: PLC0415

    out, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main(arguments)
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return out.getvalue()


def help_texts() -> Iterator[list[Line]]:
    """Yield what `khealth --help` prints, and each command's."""
    for command in ("", *re.findall(r"^    ([a-z-]+) ", _printed(["--help"]), re.MULTILINE)):
        arguments = [*command.split(), "--help"]
        text = re.sub(
            r"^\s*(?:-\S+, )?(?:-\S+|[a-z-]+)(?: \{.*?\}| [A-Z|]+)*(?:  |$)",
            f"{BREAK}  ",
            _printed(arguments),
            flags=re.MULTILINE,
        )
        text = re.sub(r"^usage: .*$", BREAK, text, flags=re.MULTILINE).replace("\n", f"\n{BREAK}")
        yield list(said(" ".join(("khealth", *arguments)), text))


def routines() -> Iterator[list[Line]]:
    """Yield what `khealth routines` prints."""
    yield list(said("khealth routines", *re.sub(r"  +", f" {BREAK} ", _printed(["routines"])).splitlines()))


def metrics() -> Iterator[list[Line]]:
    """Yield the help of each metric."""
    from khealth_exporter.core.metrics import Metrics  # noqa: PLC0415
    from khealth_exporter.measure.clock import Clock  # noqa: PLC0415

    registry = CollectorRegistry()
    Metrics(registry, Clock())
    for family in registry.collect():
        yield list(said(family.name, family.documentation))


def log_messages(name: str, source: str) -> Iterator[Line]:
    """Yield the messages that a Python file logs, and where."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Name(id="_log" | "log" | "logger") | ast.Attribute(attr="_log" | "log" | "logger"),
                    attr="debug" | "info" | "warning" | "error" | "exception" | "critical",
                ),
                args=[message, *_],
            ):
                parts = message.values if isinstance(message, ast.JoinedStr) else [message]
                texts = (str(part.value) if isinstance(part, ast.Constant) else BREAK for part in parts)
                yield from said(f"{name}:{node.lineno}", "".join(texts))


def logs() -> Iterator[list[Line]]:
    """Yield the log messages of each file of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield list(log_messages(str(path.relative_to(ROOT)), path.read_text()))


def alerts() -> Iterator[list[Line]]:
    """Yield what each alert says, and the runbook."""
    for path in sorted((ROOT / "alerts").glob("*.rules.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield list(said(f"alerts/{path.name}: {rule.get('alert')}", *rule.get("annotations", {}).values()))
    runbook = ROOT / "alerts" / "runbook.md"
    yield list(markdown_lines("alerts/runbook.md", runbook.read_text()))


def texts(part: object) -> Iterator[str]:
    """Yield the titles, descriptions and placeholders of a dashboard."""
    if isinstance(part, dict):
        yield from (text for key in ("title", "description", "noValue") if isinstance(text := part.get(key), str))
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from texts(inner)


def dashboards() -> Iterator[list[Line]]:
    """Yield the text of each dashboard, panel by panel."""
    for path in sorted((ROOT / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        panels = board.pop("panels")
        yield list(said(f"dashboards/{path.name}", *texts(board)))
        for panel in panels:
            yield list(said(f"dashboards/{path.name}: {panel['title']}", *texts(panel)))


KINDS: dict[str, Callable[[], Iterable[list[Line]]]] = {
    "markdown": markdown,
    "help": help_texts,
    "routines": routines,
    "metrics": metrics,
    "logs": logs,
    "alerts": alerts,
    "dashboards": dashboards,
}


def main(names: Sequence[str]) -> int:
    """Check the kinds of text that are named, or all; print what is wrong."""
    if unknown := sorted(set(names) - set(KINDS)):
        print(f"no such kind: {', '.join(unknown)}; there are {', '.join(KINDS)}", file=sys.stderr)  # noqa: T201
        return 2
    wrong = [problem for name in names or KINDS for lines in KINDS[name]() for problem in problems(lines)]
    for problem in wrong:
        print(problem)  # noqa: T201 - its purpose
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
