"""The process inside a canary pod: its start, its end, and what it costs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from canary_process import ROOT, Canary, await_handlers, await_sleep

MEBIBYTE = 1 << 20
BOTH = pytest.mark.parametrize("module", [["khealth_exporter.canary"], ["khealth_exporter", "canary"]], ids=len)


def tasks(disk: Path) -> list[list[object]]:
    (disk / "value").write_text("new")
    return [
        ["compute"],
        ["disk", "--path", disk],
        ["volume", "write", "--path", disk, "--seed", "a"],
        ["volume", "verify", "--path", disk, "--seed", "a"],
        ["config", "--path", disk, "--value", "new"],
    ]


@BOTH
def test_every_task_needs_less_than_20_mib_and_no_installed_package(
    module: list[str], canary: Canary, disk: Path
) -> None:
    """It runs on users' nodes."""
    resident = {}
    for words in tasks(disk):
        subprocess.run(canary.command(*words, module=module), cwd=ROOT, check=True)  # noqa: S603
        document = json.loads(canary.report.read_text())
        assert document["ok"], document
        resident[" ".join(map(str, words[:2]))] = document["facts"]["process_resident_bytes"] / MEBIBYTE
    assert {} == {task: used for task, used in resident.items() if not 5 < used < 20}


def test_nothing_heavy_is_imported() -> None:
    program = """
import sys
import khealth_exporter.canary.__main__
heavy = {"asyncio", "dataclasses", "importlib.metadata", "logging", "pathlib", "socket", "ssl", "subprocess", "typing"}
print(sorted(heavy & sys.modules.keys()))
"""
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-S", "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    expected = "[]\n"
    assert expected == ran.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "words",
    [
        ("compute", "--cpu-seconds", 1000),
        ("config", "--path", "/nowhere", "--value", "new"),
        ("disk", "--path", "DISK"),
    ],
    ids=lambda words: words[0],
)
def test_a_signal_ends_a_task_without_a_document(
    words: tuple[object, ...], number: signal.Signals, canary: Canary, disk: Path
) -> None:
    """As process 1 of a container, which has to handle it; the disk hangs: a pipe that has no reader."""
    os.mkfifo(disk / "khealth-disk")
    with canary.start(*(disk if word == "DISK" else word for word in words)) as running:
        await_handlers(running.pid)
        if "DISK" in words:
            # A signal that came just before it opens the pipe would not wake it: Python's handlers run afterwards.
            await_sleep(running.pid)
        running.send_signal(number)
        told = running.communicate()
    expected = (128 + number, ("", ""), False)
    assert expected == (running.returncode, told, canary.report.exists())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "the following arguments are required: TASK"),
        (("walk",), "invalid choice: 'walk'"),
        (("compute", "--n", "10001"), "'10001' is no integer from 0 to 10000"),
        (("compute", "--n", "-1"), "'-1' is no integer from 0 to 10000"),
        (("compute", "--cpu-seconds", "nan"), "'nan' is no number of seconds greater than 0"),
        (("disk",), "the following arguments are required: --path"),
        (("disk", "--path", ""), "'' is no text of 1 to 200 printable ASCII characters"),
        (("disk", "--path", "/", "--seed", "é"), "is no text of 1 to 200 printable ASCII characters"),
        (("disk", "--path", "/", "--bytes", "4Mi"), "'4Mi' is no integer from 1 to 1099511627776"),
        (("volume", "read", "--path", "/", "--seed", "a"), "invalid choice: 'read'"),
        (("config", *(word for n in range(9) for word in ("--path", f"/{n}")), "--value", "a"), "more than 8 directories"),
    ],
)  # fmt: skip
def test_a_usage_error_is_code_2_without_a_document(words: tuple[str, ...], told: str, canary: Canary) -> None:
    command = canary.command(*words)[: None if words else -2]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    expected = (2, "", False)
    assert expected == (ran.returncode, ran.stdout, canary.report.exists())
    assert told in ran.stderr


def test_the_document_is_written_into_the_file_that_is_there(canary: Canary) -> None:
    """The kubelet mounts it into the container, whose root is read-only: no second file, no other inode."""
    canary.report.write_text("x" * 5000)
    before = canary.report.stat().st_ino
    document = canary.run("compute", "--n", "7")
    expected = ("13", before, [canary.report])
    assert expected == (document["facts"]["result"], canary.report.stat().st_ino, list(canary.report.parent.iterdir()))


def test_a_document_that_cannot_be_written_is_code_3(tmp_path: Path) -> None:
    lost = Canary(tmp_path / "missing")
    with lost.start("compute") as running:
        told = running.communicate()
    message = f"khealth canary: cannot write {lost.report}: No such file or directory\n"
    expected = (3, ("", message))
    assert expected == (running.returncode, told)


@BOTH
def test_help_lists_the_tasks(module: list[str]) -> None:
    command = [sys.executable, "-S", "-m", *module, "--help"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    listed = [line.split()[0] for line in ran.stdout.splitlines() if line.startswith("    ") and line[4] != " "]
    expected = ["compute", "config", "disk", "volume", "agent"]
    assert expected == listed


def test_flags_of_every_command_may_precede_it(canary: Canary) -> None:
    command = [sys.executable, "-m", "khealth_exporter", "--log.level", "debug", "canary", "compute", "--n", "7"]
    subprocess.run([*command, "--report", canary.report], cwd=ROOT, check=True)  # noqa: S603
    expected = "13"
    assert expected == json.loads(canary.report.read_text())["facts"]["result"]
