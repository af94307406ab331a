"""The prose check finds what it must find, where it is, and nothing in code."""

import prose
import pytest


def found(text: str) -> list[str]:
    return list(prose.problems(list(prose.markdown_lines("page.md", text))))


@pytest.mark.parametrize(
    ("sentence", "advice"),
    [
        ("khealth reads the file anew.", "'anew': write again"),
        ("It keeps them for\never.", "'for ever': write indefinitely"),
        ("Failed attempts, by where.", "'by where': write by reason"),
        ("khealth itself is at fault", "'itself is at fault': write internal error"),
        ("Who sets that header overrides it.", "'Who sets that header overrides it.': write If you …"),
        ("What cannot be used is logged.", "'What cannot be used is logged.': write a noun first"),
        ("The behaviour changes.", "'behaviour': write -or"),
        ("It serialises the attempt.", "'serialises': write -ize"),
    ],
)
def test_a_ruled_out_phrase_is_found_with_advice(sentence: str, advice: str) -> None:
    assert [advice] == [problem.partition("khealth.words: ")[2] for problem in found(sentence) if "khealth" in problem]


def test_proselints_own_checks_apply() -> None:
    (problem,) = found("Open the ATM machine.")
    assert problem.startswith("page.md:1: redundancy.ras_syndrome: ")


@pytest.mark.parametrize(
    "text",
    [
        "Run `khealth anew` again.",
        "```sh\nkhealth anew\n```",
        "- item\n\n  ```yaml\n  anew: 1\n  ```",
        "<!-- anew -->",
        "[a page](anew)",
        "https://example.com/anew",
        "# khealth\n\nkhealth is a canary.",
        "| pods | pods |",
        "Use a tool as the Kubernetes documentation does; it shows what is broken?",
    ],
)
def test_code_addresses_and_neighboring_blocks_are_not_prose(text: str) -> None:
    assert [] == found(text)


def test_a_problem_names_its_line() -> None:
    assert ["page.md:3: khealth.words: 'anew': write again"] == found("# Title\n\nRead it anew.")


@pytest.mark.parametrize(("words", "count"), [(prose.LONGEST_SENTENCE, 0), (prose.LONGEST_SENTENCE + 1, 1)])
def test_a_sentence_has_a_longest_length(words: int, count: int) -> None:
    sentence = " ".join(f"w{number}" for number in range(words))
    assert count == len(found(f"Short one.\n\n{sentence}."))


def test_a_long_sentence_is_reported_where_it_begins() -> None:
    (problem,) = found("Short one.\n" + "\n".join(f"w{number}" for number in range(40)) + ".")
    assert problem.startswith("page.md:2: khealth.sentence: 40 words")


def test_log_messages_are_found_in_calls() -> None:
    source = """
_log.error("the first")
self.log.warning(f"{name} the second", note="not this")
print("nor this")
log.info(message)
"""
    lines = [line for line in prose.log_messages("a.py", source) if line.text.strip(prose.BREAK)]
    assert [prose.Line("a.py:2", "the first"), prose.Line("a.py:3", f"{prose.BREAK} the second")] == lines


def test_the_text_of_a_dashboard_is_found_at_any_depth() -> None:
    panel = {"title": "One", "type": "stat", "links": [{"title": "Two"}], "fieldConfig": {"defaults": {"noValue": "3"}}}
    assert ["One", "Two", "3"] == list(prose.texts(panel))


@pytest.mark.parametrize("kind", sorted(prose.KINDS))
def test_each_kind_of_text_is_there(kind: str) -> None:
    """A check of nothing would always pass."""
    words = sum(len(line.text.strip(f"{prose.BREAK} ").split()) for lines in prose.KINDS[kind]() for line in lines)
    assert words > 100


def test_help_covers_every_command() -> None:
    where = {line.where for lines in prose.help_texts() for line in lines}
    commands = {"", "run ", "once ", "demo ", "check-config ", "routines ", "sweep "}
    assert {f"khealth {command}--help" for command in commands} <= where


def test_an_unknown_kind_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == prose.main(["markdwon"])
    assert "no such kind: markdwon; there are markdown, " in capsys.readouterr().err
