"""The volumes of pods: their defaults, their rules (422), and what ConfigMaps and Secrets put into them."""

import base64
from collections.abc import Iterator, Mapping
from typing import Final

from khealth_exporter.simulator.documents import Document, namespace_of, spec_of
from khealth_exporter.simulator.errors import Cause
from khealth_exporter.simulator.resources import CONFIG_MAPS, SECRETS, Resource
from khealth_exporter.simulator.store import Key, Store

_MODE: Final = 0o644
_PROJECTED: Final = ("configMap", "secret", "projected")
_KINDS: Final[Mapping[str, tuple[Resource, str, str]]] = {
    "configMap": (CONFIG_MAPS, "configmap", "config"),
    "secret": (SECRETS, "secret", "secret"),
}
"""For each source of files, its resource and how the kubelet names it and its keys."""


class Missing(Exception):  # noqa: N818  # the kubelet tries again
    """A volume refers to something that does not exist."""


def fill(spec: Document) -> Document:
    """Return the spec of a pod with the defaults of its volumes."""
    volumes = spec.get("volumes")
    return {**spec, "volumes": [_filled(volume) for volume in volumes]} if volumes else spec


def _filled(volume: Document) -> Document:
    if volume.keys() <= {"name"}:
        return {**volume, "emptyDir": {}}
    modes: Document = {kind: {"defaultMode": _MODE, **volume[kind]} for kind in _PROJECTED if kind in volume}
    return {**volume, **modes}


def causes(spec: Document, field: str) -> Iterator[Cause]:
    """Yield what is wrong with the volumes and the mounts of a pod."""
    names: list[str] = []
    for index, volume in enumerate(spec.get("volumes") or []):
        name = str(volume.get("name") or "")
        if not name:
            yield Cause("FieldValueRequired", "Required value", f"{field}.volumes[{index}].name")
        elif name in names:
            yield Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{field}.volumes[{index}].name")
        names.append(name)
    for number, container in enumerate(spec.get("containers") or []):
        for index, mount in enumerate(container.get("volumeMounts") or []):
            where = f"{field}.containers[{number}].volumeMounts[{index}]"
            if mount.get("name") not in names:
                yield Cause("FieldValueNotFound", f'Not found: "{mount.get("name")}"', f"{where}.name")
            if not mount.get("mountPath"):
                yield Cause("FieldValueRequired", "Required value", f"{where}.mountPath")


def sources_of(volume: Document) -> list[tuple[str, Document]]:
    """Return the ConfigMaps and Secrets in the volume, each as `configMap` or `secret` with its description."""
    listed = (volume.get("projected") or {}).get("sources") or []
    found = [(kind, source[kind]) for source in listed for kind in _KINDS if kind in source]
    return found + [(kind, _plain(kind, volume[kind])) for kind in _KINDS if kind in volume]


def _plain(kind: str, source: Document) -> Document:
    return {**source, "name": source.get("secretName")} if kind == "secret" else source


def reads(pod: Document, resource: Resource, key: Key) -> bool:
    """Tell whether a volume of the pod has files from this ConfigMap or Secret."""
    return key[0] == namespace_of(pod) and any(
        _KINDS[kind][0] is resource and source["name"] == key[1]
        for volume in spec_of(pod).get("volumes") or []
        for kind, source in sources_of(volume)
    )


def files(store: Store, namespace: str, volume: Document) -> dict[str, bytes]:
    """Return the content of each file of the volume by its path. Raises `Missing`."""
    found: dict[str, bytes] = {}
    for kind, source in sources_of(volume):
        resource, kind_name, _ = _KINDS[kind]
        document = store.get(resource, (namespace, str(source["name"])))
        if document is not None:
            found |= _chosen(kind, source, _content(kind, document))
        elif not source.get("optional"):
            raise Missing(f'{kind_name} "{source["name"]}" not found')
    return found


def _content(kind: str, document: Document) -> dict[str, bytes]:
    plain, encoded = ("data", "binaryData") if kind == "configMap" else ("", "data")
    texts = {key: str(value).encode() for key, value in (document.get(plain) or {}).items()}
    return texts | {key: base64.b64decode(value) for key, value in (document.get(encoded) or {}).items()}


def _chosen(kind: str, source: Document, content: dict[str, bytes]) -> dict[str, bytes]:
    items = source.get("items")
    if not items:
        return content
    for item in items:
        if item["key"] not in content and not source.get("optional"):
            raise Missing(f"references non-existent {_KINDS[kind][2]} key: {item['key']}")
    return {item["path"]: content[item["key"]] for item in items if item["key"] in content}
