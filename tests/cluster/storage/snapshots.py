"""The snapshotter: each VolumeSnapshot gets a content, a real cut, and its status, when its class says so."""

import re
import time

from api import log, rfc3339
from volumes import DRIVER, Refused, quantity

DEFAULT_CLASS = "snapshot.storage.kubernetes.io/is-default-class"
PROTECTION = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
CONTENT_PROTECTION = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
GROUP_PROTECTION = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection"
CONTENTS = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents"


def seconds(text):
    """Seconds of a duration such as 200ms or 20s."""
    found = re.fullmatch(r"([0-9.]+)(ms|s|m)", text)
    if not found:
        raise Refused(f"the duration {text} is not understood")
    return float(found[1]) * {"ms": 0.001, "s": 1, "m": 60}[found[2]]


def without(finalizers, gone):
    return [name for name in finalizers or [] if name != gone]


class Behaviour:
    """What the parameters of a class ask for."""

    def __init__(self, parameters):
        known = {"cutAfter", "readyAfter", "failWith", "hang", "cutAt"}
        if unknown := set(parameters) - known:
            raise Refused(f"the class has parameters that nobody knows: {', '.join(sorted(unknown))}")
        self.cut_after = seconds(parameters.get("cutAfter", "0s"))
        self.ready_after = max(seconds(parameters.get("readyAfter", "0s")), self.cut_after)
        self.fail_with = parameters.get("failWith")
        self.hang = parameters.get("hang") == "true"
        self.cut_when_ready = parameters.get("cutAt") == "ready"


class Snapshots:
    def __init__(self, api, disk, mirrors):
        self.api, self.disk, self.mirrors = api, disk, mirrors
        self.seen, self.cuts, self.told = {}, {}, {}

    def reconcile(self, key, snapshot):
        if snapshot is None:
            return None
        if "deletionTimestamp" in snapshot["metadata"]:
            return self._delete(key, snapshot)
        if group_of(snapshot) is not None:
            # Its group tells how it stands.
            return None
        # Delays count from when it was first seen: the API's own times are whole seconds.
        seen = self.seen.setdefault(snapshot["metadata"]["uid"], time.monotonic())
        try:
            if "volumeSnapshotContentName" in snapshot["spec"]["source"]:
                return self._adopt(key, snapshot)
            return self._take(key, snapshot, time.monotonic() - seen)
        except Refused as refusal:
            self.mirrors["snapshots"].report(key, snapshot, {"readyToUse": False, "error": problem(str(refusal))})
            return 1.0

    def _take(self, key, snapshot, age):
        if snapshot.get("status", {}).get("readyToUse"):
            return None
        snapshot_class = self._class(snapshot)
        if snapshot_class is None or snapshot_class["driver"] != DRIVER:
            return None
        behaviour = Behaviour(snapshot_class.get("parameters") or {})
        if behaviour.hang:
            return None
        volume = volume_of(self.mirrors, self.disk, key[0], snapshot["spec"]["source"]["persistentVolumeClaimName"])
        name = "snapcontent-" + snapshot["metadata"]["uid"]
        self._prepare(key, snapshot, snapshot_class, volume, name)
        if age < behaviour.cut_after:
            return behaviour.cut_after - age
        if behaviour.fail_with is not None:
            if snapshot.get("status", {}).get("error", {}).get("message") != behaviour.fail_with:
                self._tell(key, snapshot, name, {"readyToUse": False, "error": problem(behaviour.fail_with)})
            return None
        ready = age >= behaviour.ready_after
        self._cut(key, snapshot, volume, name, ready, behaviour.cut_when_ready)
        return None if ready else behaviour.ready_after - age

    def _class(self, snapshot):
        name = snapshot["spec"].get("volumeSnapshotClassName")
        if name is not None:
            found = self.mirrors["snapshotclasses"].fetch(("", name))
            if found is None:
                raise Refused(f'failed to get the VolumeSnapshotClass "{name}"')
            return found
        for candidate in self.mirrors["snapshotclasses"].values():
            if candidate["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true":
                return candidate
        raise Refused("there is no default VolumeSnapshotClass")

    def _prepare(self, key, snapshot, snapshot_class, volume, name):
        """The content and the snapshot's protection, before anything is cut."""
        metadata = snapshot["metadata"]
        if self.mirrors["contents"].get(("", name)):
            return
        finalizers = metadata.get("finalizers") or []
        if PROTECTION not in finalizers:
            self.api.patch(
                self.mirrors["snapshots"].path(key),
                {
                    "metadata": {"finalizers": [*finalizers, PROTECTION], "uid": metadata["uid"]},
                    "spec": {"volumeSnapshotClassName": snapshot_class["metadata"]["name"]},
                },
            )
        self.api.create(CONTENTS, {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshotContent",
            "metadata": {"name": name, "finalizers": [CONTENT_PROTECTION]},
            "spec": {
                "driver": DRIVER,
                "deletionPolicy": snapshot_class["deletionPolicy"],
                "volumeSnapshotClassName": snapshot_class["metadata"]["name"],
                "source": {"volumeHandle": volume["metadata"]["name"]},
                "volumeSnapshotRef": {
                    "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
                    "namespace": key[0], "name": key[1], "uid": metadata["uid"],
                },
            },
        })

    def _cut(self, key, snapshot, volume, name, ready, cut_when_ready):
        uid = snapshot["metadata"]["uid"]
        # The copy of the snapshot here may be older than what was told.
        if uid in self.told and self.told[uid] >= ready:
            return
        handle = "snapshot-" + uid
        known = (self.mirrors["contents"].get(("", name)) or {}).get("status", {}).get("creationTime")
        if ready or not cut_when_ready:
            cut = self.disk.cut(self.disk.volume(volume["metadata"]["name"]), self.disk.snapshot(handle))
        else:
            # A driver that cuts when it is ready tells a creation time long before: that is what is wrong with it.
            cut = time.time_ns()
        self._tell(key, snapshot, name, {
            "creationTime": self.cuts.setdefault(uid, known or cut),
            "restoreSize": quantity(volume["spec"]["capacity"]["storage"]),
            "snapshotHandle": handle,
            "readyToUse": ready,
            "error": None,
        })
        self.told[uid] = ready
        log(f"snapshot {key[0]}/{key[1]}: {'ready' if ready else 'cut'}")

    def _tell(self, key, snapshot, name, status):
        """The content's status, then the snapshot's from it."""
        self.api.patch(f"{CONTENTS}/{name}/status", {"status": status})
        self.mirrors["snapshots"].report(key, snapshot, told_of(name, status))

    def _adopt(self, key, snapshot):
        """A snapshot of a content that is there already binds to it if the content names it."""
        name = snapshot["spec"]["source"]["volumeSnapshotContentName"]
        content = self.mirrors["contents"].fetch(("", name))
        if content is None or content["spec"]["driver"] != DRIVER:
            raise Refused(f"there is no VolumeSnapshotContent {name}")
        reference, metadata = content["spec"]["volumeSnapshotRef"], snapshot["metadata"]
        if (reference.get("namespace"), reference.get("name")) != key or reference.get("uid", metadata["uid"]) != metadata["uid"]:
            raise Refused(f"the VolumeSnapshotContent {name} is for another VolumeSnapshot")
        if PROTECTION not in (metadata.get("finalizers") or []):
            finalizers = [*(metadata.get("finalizers") or []), PROTECTION]
            self.api.patch(self.mirrors["snapshots"].path(key), {"metadata": {"finalizers": finalizers}})
        if reference.get("uid") is None:
            self.api.patch(f"{CONTENTS}/{name}", {"spec": {"volumeSnapshotRef": {"uid": metadata["uid"]}}})
        status = content.get("status", {})
        if "readyToUse" not in status:
            return 0.1
        self.mirrors["snapshots"].report(key, snapshot, told_of(name, status))
        return None

    def _delete(self, key, snapshot):
        """Takes the content along if it shall, and lets go when it is gone."""
        metadata, group = snapshot["metadata"], group_of(snapshot)
        if group is not None and self._is_there(key[0], group):
            # It goes with its group, and not before it.
            return 0.1
        for content in self.mirrors["contents"].values():
            if content["spec"]["volumeSnapshotRef"].get("uid") != metadata["uid"]:
                continue
            if content["spec"]["deletionPolicy"] == "Delete":
                if "deletionTimestamp" not in content["metadata"]:
                    self.api.delete(f"{CONTENTS}/{content['metadata']['name']}")
                return 0.05
        self.seen.pop(metadata["uid"], None)
        self.cuts.pop(metadata["uid"], None)
        self.told.pop(metadata["uid"], None)
        finalizers = metadata.get("finalizers") or []
        rest = without(without(finalizers, PROTECTION), GROUP_PROTECTION)
        if rest != finalizers:
            self.api.patch(self.mirrors["snapshots"].path(key), {"metadata": {"finalizers": rest}})
        return None

    def _is_there(self, namespace, owner):
        group = self.api.get(self.mirrors["groups"].path((namespace, owner["name"])))
        return group is not None and group["metadata"]["uid"] == owner["uid"]


def group_of(snapshot):
    """The reference to the group that a snapshot is of, if it is of one."""
    owners = snapshot["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner["kind"] == "VolumeGroupSnapshot"), None)


def volume_of(mirrors, disk, namespace, name):
    """The volume of a claim, if it is one of ours."""
    claim = mirrors["claims"].fetch((namespace, name))
    if claim is None or claim.get("status", {}).get("phase") != "Bound":
        raise Refused(f"the claim {namespace}/{name} is missing or not bound")
    volume = mirrors["volumes"].fetch(("", claim["spec"]["volumeName"]))
    if volume is None or volume["spec"].get("local", {}).get("path") != disk.volume(claim["spec"]["volumeName"]):
        raise Refused(f"the volume of the claim {namespace}/{name} is not of the driver {DRIVER}")
    return volume


def problem(message):
    return {"message": message, "time": rfc3339(time.time())}


def told_of(name, status):
    """What a snapshot's status tells of its content's."""
    told = {
        "boundVolumeSnapshotContentName": name, "readyToUse": status["readyToUse"], "error": status.get("error"),
    }
    if "creationTime" in status:
        told["creationTime"] = rfc3339(status["creationTime"] / 1e9)
        told["restoreSize"] = str(status.get("restoreSize", 0))
    return told
