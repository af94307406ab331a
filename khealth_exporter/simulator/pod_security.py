"""The Pod Security Standards `baseline` and `restricted`: the checks that apply to canaries."""

from collections.abc import Iterator, Sequence
from typing import Final

from khealth_exporter.simulator.documents import Document, spec_of

_VOLUMES: Final = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_CAPABILITIES: Final = {
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
}
_PROFILES: Final = {"RuntimeDefault", "Localhost"}


def violations(pod: Document, level: str) -> list[str]:
    """Return what the pod does that the level forbids, in the real admission plugin's words and order."""
    if level not in {"baseline", "restricted"}:
        return []
    spec = spec_of(pod)
    found = [*_host_namespaces(spec), *_capabilities(spec)]
    if level == "baseline":
        return [*found, *_host_path(spec), *_privileged(spec)]
    return [*_host_namespaces(spec), *_privileged(spec), *_restricted(spec)]


def _containers(spec: Document) -> list[tuple[str, Document]]:
    listed = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return [(container["name"], container.get("securityContext") or {}) for container in listed]


def _subject(kind: str, names: Sequence[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"{kind}s {quoted}" if len(names) > 1 else f"{kind} {quoted}"


def _host_namespaces(spec: Document) -> Iterator[str]:
    used = [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    if used:
        yield f"host namespaces ({', '.join(f'{field}=true' for field in used)})"


def _capabilities(spec: Document) -> Iterator[str]:
    for name, context in _containers(spec):
        added = set((context.get("capabilities") or {}).get("add") or ()) - _CAPABILITIES
        if added:
            listed = ", ".join(f'"{capability}"' for capability in sorted(added))
            yield (
                f'non-default capabilities (container "{name}" must not include {listed} in '
                "securityContext.capabilities.add)"
            )


def _host_path(spec: Document) -> Iterator[str]:
    names = [volume["name"] for volume in spec.get("volumes") or [] if "hostPath" in volume]
    if names:
        yield f"hostPath volumes ({_subject('volume', names)})"


def _privileged(spec: Document) -> Iterator[str]:
    names = [name for name, context in _containers(spec) if context.get("privileged")]
    if names:
        yield f"privileged ({_subject('container', names)} must not set securityContext.privileged=true)"


def _restricted(spec: Document) -> Iterator[str]:
    containers = _containers(spec)
    names = [name for name, context in containers if context.get("allowPrivilegeEscalation") is not False]
    if names:
        told = f"{_subject('container', names)} must set securityContext.allowPrivilegeEscalation=false"
        yield f"allowPrivilegeEscalation != false ({told})"
    names = [name for name, context in containers if "ALL" not in _dropped(context)]
    if names:
        told = f'{_subject("container", names)} must set securityContext.capabilities.drop=["ALL"]'
        yield f"unrestricted capabilities ({told})"
    for volume in spec.get("volumes") or []:
        kind = next((key for key in volume if key != "name"), "emptyDir")
        if kind not in _VOLUMES:
            yield f'restricted volume types (volume "{volume["name"]}" uses restricted volume type "{kind}")'
    yield from _run_as_non_root(spec, containers)
    yield from _seccomp(spec, containers)


def _dropped(context: Document) -> list[str]:
    return (context.get("capabilities") or {}).get("drop") or []


def _run_as_non_root(spec: Document, containers: Sequence[tuple[str, Document]]) -> Iterator[str]:
    whole = (spec.get("securityContext") or {}).get("runAsNonRoot")
    names = [name for name, context in containers if context.get("runAsNonRoot", whole) is not True]
    if names:
        subject = f"pod or {_subject('container', names)}"
        yield f"runAsNonRoot != true ({subject} must set securityContext.runAsNonRoot=true)"


def _seccomp(spec: Document, containers: Sequence[tuple[str, Document]]) -> Iterator[str]:
    whole = ((spec.get("securityContext") or {}).get("seccompProfile") or {}).get("type")
    names = [
        name
        for name, context in containers
        if (context.get("seccompProfile") or {}).get("type", whole) not in _PROFILES
    ]
    if names:
        subject = f"pod or {_subject('container', names)}"
        rule = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        yield f"seccompProfile ({subject} {rule})"
