"""What the routines of storage say of a healthy cluster: disks, volumes, and mounted configuration."""

from bodies.target import Target, wait_for


def test_storage_is_well_and_leaves_nothing(target: Target) -> None:
    """Every step is timed, and no claim, volume, pod, ConfigMap or Secret stays."""
    with target.volumes():
        found = target.every(target.storage(), "storage")
    steps = {attempt["routine"]: set(attempt["steps"]) for attempt in found.document["attempts"]}
    assert (0, {"disk", "volume", "config"}) == (found.code, found.well), found.told
    assert {"write", "fsync", "read"} <= steps["disk"]
    assert {"provision", "write", "verify", "delete"} <= steps["volume"]
    assert {"project"} <= steps["config"]
    assert [] == target.objects()
    wait_for("volumes to go", lambda: not target.claimed_volumes())


def test_a_class_without_a_provisioner_is_named(target: Target) -> None:
    """Storage is to blame, neither scheduler nor node; disks are not."""
    name = target.namespace
    target.storage_api.create_storage_class({"metadata": {"name": name}, "provisioner": "nobody.example.com"})
    try:
        found = target.every(target.storage(storage_class=name, timeout="20s"), "storage/volume", "storage/disk")
    finally:
        target.storage_api.delete_storage_class(name)
    assert (1, {"volume": ("storage", "volume_not_provisioned")}) == (found.code, found.blamed), found.told
    assert ({"disk"}, []) == (found.well, target.objects())
