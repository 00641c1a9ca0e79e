"""The group snapshotter: a VolumeGroupSnapshot cuts the volumes of all claims that it selects, and gets a VolumeSnapshot
for each of them, as the external snapshotter makes them."""

import hashlib
import time

from api import log, rfc3339
from snapshots import (
    CONTENT_PROTECTION,
    CONTENTS,
    GROUP_PROTECTION,
    Behaviour,
    problem,
    told_of,
    volume_of,
    without,
)
from volumes import DRIVER, Refused, quantity

GROUPS = "/apis/groupsnapshot.storage.k8s.io/v1"
PROTECTION = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-bound-protection"


class Groups:
    def __init__(self, api, disk, mirrors):
        self.api, self.disk, self.mirrors = api, disk, mirrors
        self.seen = {}

    def reconcile(self, key, group):
        if group is None:
            return None
        metadata = group["metadata"]
        if "deletionTimestamp" in metadata:
            return self._delete(key, group)
        seen = self.seen.setdefault(metadata["uid"], time.monotonic())
        try:
            return self._take(key, group, time.monotonic() - seen)
        except Refused as refusal:
            self.mirrors["groups"].report(key, group, {"readyToUse": False, "error": problem(str(refusal))})
            return 1.0

    def _take(self, key, group, age):
        if group.get("status", {}).get("readyToUse"):
            return None
        group_class = self.mirrors["groupclasses"].fetch(("", group["spec"].get("volumeGroupSnapshotClassName", "")))
        if group_class is None or group_class["driver"] != DRIVER:
            return None
        behaviour = Behaviour(group_class.get("parameters") or {})
        if behaviour.hang:
            return None
        content = self._content(key, group, group_class)
        if age < behaviour.cut_after:
            return behaviour.cut_after - age
        if behaviour.fail_with is not None:
            status = {"readyToUse": False, "error": problem(behaviour.fail_with)}
            if group.get("status", {}).get("error", {}).get("message") != behaviour.fail_with:
                self.api.patch(self._content_path(content) + "/status", {"status": status})
                self.mirrors["groups"].report(key, group, {**status, "boundVolumeGroupSnapshotContentName": content["metadata"]["name"]})
            return None
        ready = age >= behaviour.ready_after
        self._cut(key, group, content, ready)
        return None if ready else behaviour.ready_after - age

    def _content(self, key, group, group_class):
        """The content, which says which volumes they are, once and for all."""
        metadata = group["metadata"]
        name = "groupsnapcontent-" + metadata["uid"]
        found = self.api.get(f"{GROUPS}/volumegroupsnapshotcontents/{name}")
        if found is not None:
            return found
        finalizers = metadata.get("finalizers") or []
        if PROTECTION not in finalizers:
            self.api.patch(self.mirrors["groups"].path(key), {"metadata": {"finalizers": [*finalizers, PROTECTION]}})
        return self.api.create(f"{GROUPS}/volumegroupsnapshotcontents", {
            "apiVersion": "groupsnapshot.storage.k8s.io/v1",
            "kind": "VolumeGroupSnapshotContent",
            "metadata": {"name": name},
            "spec": {
                "driver": DRIVER,
                "deletionPolicy": group_class["deletionPolicy"],
                "volumeGroupSnapshotClassName": group_class["metadata"]["name"],
                "source": {"volumeHandles": self._volumes(key, group)},
                "volumeGroupSnapshotRef": {
                    "apiVersion": "groupsnapshot.storage.k8s.io/v1", "kind": "VolumeGroupSnapshot",
                    "namespace": key[0], "name": key[1], "uid": metadata["uid"],
                },
            },
        })

    def _volumes(self, key, group):
        wanted = group["spec"]["source"]["selector"].get("matchLabels", {}).items()
        claims = [
            claim["metadata"]["name"]
            for claim in self.mirrors["claims"].values()
            if claim["metadata"]["namespace"] == key[0]
            and wanted <= (claim["metadata"].get("labels") or {}).items()
        ]
        if not claims:
            raise Refused("the label selector of the group snapshot is not applied to any claim")
        return [volume_of(self.mirrors, self.disk, key[0], claim)["metadata"]["name"] for claim in sorted(claims)]

    def _cut(self, key, group, content, ready):
        uid, name = group["metadata"]["uid"], content["metadata"]["name"]
        infos = []
        for handle in content["spec"]["source"]["volumeHandles"]:
            volume = self.mirrors["volumes"].fetch(("", handle))
            cut = "snapshot-" + digest(uid, handle)
            infos.append({
                "volumeHandle": handle,
                "snapshotHandle": cut,
                "creationTime": self.disk.cut(self.disk.volume(handle), self.disk.snapshot(cut)),
                "restoreSize": quantity(volume["spec"]["capacity"]["storage"]),
                "readyToUse": ready,
            })
        moment = rfc3339(max(info["creationTime"] for info in infos) / 1e9)
        status = {"creationTime": moment, "readyToUse": ready, "error": None}
        handles = {"volumeGroupSnapshotHandle": "group-" + uid, "volumeSnapshotInfoList": infos}
        self.api.patch(self._content_path(content) + "/status", {"status": {**status, **handles}})
        for info in infos:
            self._member(key, group, content, info)
        self.mirrors["groups"].report(key, group, {**status, "boundVolumeGroupSnapshotContentName": name})
        log(f"group snapshot {key[0]}/{key[1]}: {'ready' if ready else 'cut'}")

    def _member(self, key, group, content, info):
        """The VolumeSnapshot of one of the volumes and its content, bound to each other."""
        uid = group["metadata"]["uid"]
        end = digest(uid, info["volumeHandle"])
        name, snapshot_name = "snapcontent-" + end, "snapshot-" + end
        volume = self.mirrors["volumes"].fetch(("", info["volumeHandle"]))
        snapshot = self.api.create(self.mirrors["snapshots"].collection(key[0]), {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {
                "name": snapshot_name,
                "finalizers": [GROUP_PROTECTION],
                "ownerReferences": [{
                    "apiVersion": "groupsnapshot.storage.k8s.io/v1", "kind": "VolumeGroupSnapshot",
                    "name": key[1], "uid": uid,
                }],
            },
            "spec": {"source": {"persistentVolumeClaimName": volume["spec"]["claimRef"]["name"]}},
        })
        self.api.create(CONTENTS, {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshotContent",
            "metadata": {"name": name, "finalizers": [CONTENT_PROTECTION]},
            "spec": {
                "driver": DRIVER,
                "deletionPolicy": content["spec"]["deletionPolicy"],
                "source": {"volumeHandle": info["volumeHandle"]},
                "volumeSnapshotRef": {
                    "kind": "VolumeSnapshot", "namespace": key[0], "name": snapshot_name,
                    "uid": snapshot["metadata"]["uid"],
                },
            },
        })
        status = {field: info[field] for field in ("snapshotHandle", "creationTime", "restoreSize", "readyToUse")}
        told = {**status, "volumeGroupSnapshotHandle": "group-" + uid}
        self.api.patch(f"{CONTENTS}/{name}/status", {"status": told})
        path = self.mirrors["snapshots"].path((key[0], snapshot_name))
        self.api.patch(path + "/status", {"status": {**told_of(name, status), "volumeGroupSnapshotName": key[1]}})

    def _delete(self, key, group):
        """Its snapshots go with it: they may once it is gone."""
        metadata = group["metadata"]
        for snapshot in self.mirrors["snapshots"].values():
            owners = snapshot["metadata"].get("ownerReferences") or []
            if any(owner["uid"] == metadata["uid"] for owner in owners):
                self.api.delete(self.mirrors["snapshots"].path((key[0], snapshot["metadata"]["name"])))
        self.api.delete(f"{GROUPS}/volumegroupsnapshotcontents/groupsnapcontent-{metadata['uid']}")
        self.seen.pop(metadata["uid"], None)
        if PROTECTION in (metadata.get("finalizers") or []):
            finalizers = without(metadata["finalizers"], PROTECTION)
            self.api.patch(self.mirrors["groups"].path(key), {"metadata": {"finalizers": finalizers}})
        return None

    @staticmethod
    def _content_path(content):
        return f"{GROUPS}/volumegroupsnapshotcontents/{content['metadata']['name']}"


def digest(uid, handle):
    """What names the snapshot of a volume in a group: always the same."""
    return hashlib.sha256((uid + handle).encode()).hexdigest()[:40]
