"""YAML and JSON are read as kubectl reads them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from khealth_exporter.kubectl_yaml import KubectlLoader


def load(text: str | bytes) -> object:
    """Return what a text holds."""
    return yaml.load(text, KubectlLoader)  # noqa: S506 - it is a SafeLoader


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{\n\t"a": {\n\t\t"b": [\n\t\t\t1,\n\t\t\ttrue\n\t\t]\n\t}\n}\n', {"a": {"b": [1, True]}}),
        ('{"a"\t:\t1\t,\t"b"\t:\tnull\t}\t', {"a": 1, "b": None}),
        ("{\ta:\tb,\tc:\t[\td\t]\t}", {"a": "b", "c": ["d"]}),
        ("[\r\n\t1\r\n]\r\n", [1]),
        ("a:\tb", {"a": "b"}),
        ("a:\t\t 'b'\t", {"a": "b"}),
        ("a: b\t\nc: d\t# told\n", {"a": "b", "c": "d"}),
        ("a:\t# told\n  b: 1", {"a": {"b": 1}}),
        ("a:\t|\n  b\tc\n", {"a": "b\tc\n"}),
        ("a: {\n\tb: 1,\n\t# told\n\tc: 2\n}", {"a": {"b": 1, "c": 2}}),
        ('"a\\tb": "c\td"', {"a\tb": "c\td"}),
        ("", None),
        ("# told\n", None),
    ],
)
def test_tabs_separate_tokens(text: str, expected: object) -> None:
    """Wherever Go's YAML package takes them."""
    assert expected == load(text.encode())


@pytest.mark.parametrize(
    "text",
    ["a:\n\tb: 1", "\ta: 1", "a:\n  - b\n\t- c", "-\ta: 1", "?\ta\n: b", "a: 1\n\tb: 2", "{a: 1\n\t", "\t", "\t{}"],
)
def test_tabs_indent_no_block(text: str) -> None:
    """As with kubectl: nobody knows how wide a tab is."""
    with pytest.raises(yaml.YAMLError):
        load(text)


TEXT = st.text(st.characters(max_codepoint=0xD7FF, exclude_characters="\x7f"), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(JSON, st.sampled_from(["\t", "\t ", " ", None]), st.sampled_from([(",", ":"), (",\t", "\t:\t")]))
def test_json_of_any_indentation_is_read(document: Any, indent: str | None, separators: tuple[str, str]) -> None:
    """Tabs, spaces, or none."""
    assert document == load(json.dumps(document, indent=indent, separators=separators))


def test_a_kubeconfig_can_have_tabs_without_libyaml_too(tmp_path: Path) -> None:
    """Not every build of PyYAML has it."""
    (tmp_path / "config").write_text("current-context:\ta\t# told\nclusters: [\n\t{name: c}\n]\n")
    script = (
        "import pathlib, sys, yaml; del yaml.CSafeLoader\n"
        "from khealth_exporter.cluster.credentials.kubeconfig_file import read\n"
        "found = read([pathlib.Path(sys.argv[1])]); print(found.current_context, *found.clusters)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "config")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - Python itself
    assert ("a c\n", "") == (done.stdout, done.stderr)
