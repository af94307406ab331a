"""Credential plug-ins: the commands that a kubeconfig's `exec` names, as kubectl runs them."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

PATIENCE = 30.0
"""Seconds that a plug-in may take; it may have to ask an identity provider over the network."""


class CredentialsError(Exception):
    """There are no credentials that could be used; the message names where they were looked for, and the cause."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What a plug-in gave: a token, or a certificate and its key (PEM), or both; `expires` in Unix seconds."""

    token: str | None
    certificate: str | None
    key: str | None
    expires: float | None


class Variable(msgspec.Struct):
    """A variable of a plug-in's environment."""

    name: str = ""
    value: str = ""


class Exec(msgspec.Struct, rename="camel"):
    """The `exec` section of a user."""

    command: str = ""
    api_version: str = ""
    args: list[str | None] = []
    env: list[Variable | None] = []
    provide_cluster_info: bool = False
    interactive_mode: str = ""
    install_hint: str = ""


class _Status(msgspec.Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str
    status: _Status | None = None


def issue(plugin: Exec, cluster: Mapping[str, Any], directory: Path) -> Issued:
    """Run a plug-in and return what it gave, within `PATIENCE` seconds.

    `cluster` is what it is told of the cluster if it wants to know, `directory` the one of the kubeconfig. Raise
    CredentialsError for whatever goes wrong.
    """
    if plugin.interactive_mode == "Always":
        raise CredentialsError(f"exec: {plugin.command} wants to talk to a person (interactiveMode: Always)")
    output = _run(plugin, _request(plugin, cluster), directory)
    try:
        credential = msgspec.json.decode(output, type=_ExecCredential)
    except (msgspec.MsgspecError, ValueError) as error:
        why = f": {error}" if isinstance(error, msgspec.MsgspecError) else ""  # Other words quote what it printed.
        raise CredentialsError(f"exec: {plugin.command} printed no ExecCredential{why}") from error
    return _issued(plugin, credential)


def _issued(plugin: Exec, credential: _ExecCredential) -> Issued:
    """Return what the plug-in gave, having checked that it is of use."""
    if credential.api_version != plugin.api_version:
        raise CredentialsError(f"exec: {plugin.command} did not answer in {plugin.api_version}")
    status = credential.status or _Status()
    certificate, key = status.client_certificate_data or None, status.client_key_data or None
    if (certificate is None) != (key is None):
        raise CredentialsError(f"exec: {plugin.command} gave only one of certificate and key")
    if not status.token and not certificate:
        raise CredentialsError(f"exec: {plugin.command} gave neither a token nor a certificate")
    expires = status.expiration_timestamp.timestamp() if status.expiration_timestamp else None
    return Issued(status.token or None, certificate, key, expires)


def _run(plugin: Exec, request: str, directory: Path) -> bytes:
    """Run the command in a process group of its own, which ends with it, and return its standard output."""
    # As kubectl: a path with a slash in it is relative to the kubeconfig, a bare name is looked up on PATH.
    command = str(directory / plugin.command) if "/" in plugin.command else plugin.command
    environment = {variable.name: variable.value for variable in plugin.env if variable}
    try:
        process = subprocess.Popen(  # noqa: S603 - to run it is what the kubeconfig asks for
            [command, *(argument or "" for argument in plugin.args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment, "KUBERNETES_EXEC_INFO": request},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        hint = f" ({plugin.install_hint.strip()})" if plugin.install_hint else ""
        raise CredentialsError(f"exec: {plugin.command} cannot be run: {error}{hint}") from error
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise CredentialsError(f"exec: {plugin.command} did not end within {PATIENCE:g} s") from error
    finally:
        _end(process)
    if process.returncode:
        hint = f" ({plugin.install_hint.strip()})" if plugin.install_hint else ""
        raise CredentialsError(
            f"exec: {plugin.command} exited with {process.returncode}{hint}; run it by hand to see why:"
            " khealth does not show what it prints, as that may hold secrets"
        )
    return output


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a plug-in that has not ended, with all that it has started: these may hold its output open."""
    with process:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)


def _request(plugin: Exec, cluster: Mapping[str, Any]) -> str:
    """Return the ExecCredential that asks the plug-in, with the cluster if it wants to know."""
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        spec["cluster"] = dict(cluster)
    return json.dumps({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec})
