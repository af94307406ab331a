"""The Makefile hands each variable to its command as one word."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = ["a b", "?", "it's", '"', "$(HOME)", "&", "*"]


@pytest.fixture
def words_of(tmp_path: Path) -> Callable[..., list[str]]:
    """Return what gives the words, as the shell reads them, of the command that make would run for a target."""
    (tmp_path / "x").touch()  # What a pattern of one character would match.

    def words(target: str, **variables: str) -> list[str]:
        ready = (f"--old-file=.venv/{name}" for name in ("run-ready", "ready"))
        given = (f"{name}={value.replace('$', '$$')}" for name, value in variables.items())
        command = _output(["make", "--dry-run", *ready, target, *given], ROOT)
        return _output(["sh", "-c", f"printf '%s\\n' {command}"], tmp_path).splitlines()

    return words


def _output(words: list[str], folder: Path) -> str:
    # A make that runs the tests hands on its flags and its variables, such as ARGS, in the environment.
    variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    run = subprocess.run(words, cwd=folder, env=variables, check=True, capture_output=True, text=True)  # noqa: S603
    return run.stdout


@pytest.mark.parametrize("word", WORDS)
def test_demo_hands_on_its_variables(words_of: Callable[..., list[str]], word: str) -> None:
    """A question mark is no pattern, and a blank separates nothing."""
    expected = [".venv/bin/khealth", "demo", "--fault", word, "--listen", word]
    assert expected == words_of("demo", FAULT=word, LISTEN=word)


def test_demo_without_variables_has_no_flags(words_of: Callable[..., list[str]]) -> None:
    """An empty flag is an error."""
    assert [".venv/bin/khealth", "demo"] == words_of("demo")


@pytest.mark.parametrize("word", WORDS)
def test_draw_hands_on_its_variables(words_of: Callable[..., list[str]], word: str) -> None:
    """An address may contain an ampersand, and a path a blank."""
    expected = [".venv/bin/python", "dashboards/draw/draw.py", "--prometheus", word, "--out", word]
    assert expected == words_of("draw", PROMETHEUS=word, OUT=word)


@pytest.mark.parametrize("word", WORDS)
def test_screenshots_hands_on_its_variable(words_of: Callable[..., list[str]], word: str) -> None:
    """The folder is one word."""
    assert [".venv/bin/python", "tests/screenshots.py", word] == words_of("screenshots", FOLDER=word)
