"""The provisioner: volumes for claims of its storage classes, empty ones or from a snapshot or another claim."""

import re
import time

from api import log

DRIVER = "btrfs.standstill.test"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class Refused(Exception):
    """The claim cannot be served as things are; the text is for its events."""


def quantity(text):
    """Bytes of a quantity such as 1Gi."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if not found or found[2] not in UNITS:
        raise Refused(f"the size {text} is not understood")
    return int(float(found[1]) * UNITS[found[2]])


class Claims:
    def __init__(self, api, disk, mirrors, node):
        self.api, self.disk, self.mirrors, self.node = api, disk, mirrors, node
        self.warned = {}

    def reconcile(self, key, claim):
        if claim is None or "deletionTimestamp" in claim["metadata"] or claim["spec"].get("volumeName"):
            return None
        storage_class = self.mirrors["storageclasses"].get(("", claim["spec"].get("storageClassName") or ""))
        if storage_class is None or storage_class["provisioner"] != DRIVER:
            return None
        annotations = claim["metadata"].get("annotations", {})
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer" and SELECTED_NODE not in annotations:
            return None
        try:
            handle = self._make(claim)
        except Refused as refusal:
            self._warn(claim, str(refusal))
            # What it needs may come yet.
            return 0.2
        self.api.create("/api/v1/persistentvolumes", self._volume(claim, storage_class, handle))
        log(f"claim {key[0]}/{key[1]}: volume {handle}")
        return None

    def _make(self, claim):
        handle = "pvc-" + claim["metadata"]["uid"]
        path = self.disk.volume(handle)
        source = claim["spec"].get("dataSource")
        if claim["spec"].get("volumeMode") == "Block":
            raise Refused("there are no block volumes here")
        if source is None:
            self.disk.make(path)
        elif source["kind"] == "VolumeSnapshot":
            self.disk.copy(self._snapshot(claim, source["name"]), path)
        elif source["kind"] == "PersistentVolumeClaim":
            self.disk.copy(self._claimed(claim, source["name"]), path)
        else:
            raise Refused(f"volumes are not made from a {source['kind']}")
        return handle

    def _snapshot(self, claim, name):
        namespace = claim["metadata"]["namespace"]
        snapshot = self.mirrors["snapshots"].get((namespace, name))
        if snapshot is None:
            raise Refused(f"there is no VolumeSnapshot {namespace}/{name}")
        status = snapshot.get("status", {})
        if not status.get("readyToUse"):
            raise Refused(f"the VolumeSnapshot {namespace}/{name} is not ready to use")
        content = self.mirrors["contents"].fetch(("", status["boundVolumeSnapshotContentName"]))
        reference = content["spec"]["volumeSnapshotRef"] if content else {}
        if reference.get("uid") != snapshot["metadata"]["uid"]:
            raise Refused(f"the VolumeSnapshot {namespace}/{name} is not bound to its content")
        self._check_size(claim, content["status"].get("restoreSize", 0))
        return self.disk.snapshot(content["status"]["snapshotHandle"])

    def _claimed(self, claim, name):
        source = self.mirrors["claims"].get((claim["metadata"]["namespace"], name))
        if source is None or source.get("status", {}).get("phase") != "Bound":
            raise Refused(f"the claim {name} to copy is not bound")
        self._check_size(claim, quantity(source["status"]["capacity"]["storage"]))
        return self.disk.volume(source["spec"]["volumeName"])

    @staticmethod
    def _check_size(claim, least):
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        if quantity(wanted) < least:
            raise Refused(f"requested volume size {wanted} is less than the size {least} of the source")

    def _volume(self, claim, storage_class, handle):
        metadata = claim["metadata"]
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": handle, "annotations": {PROVISIONED_BY: DRIVER}},
            "spec": {
                "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                "accessModes": claim["spec"]["accessModes"],
                "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
                "storageClassName": storage_class["metadata"]["name"],
                # Unlike hostPath, a local volume is handled as a driver's: fsGroup is applied, for example.
                "local": {"path": self.disk.volume(handle)},
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": metadata["namespace"],
                    "name": metadata["name"], "uid": metadata["uid"],
                },
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [{
                            "matchExpressions": [
                                {"key": "kubernetes.io/hostname", "operator": "In", "values": [self.node]}
                            ]
                        }]
                    }
                },
            },
        }

    def _warn(self, claim, message):
        """An event for each new reason, and again every ten seconds."""
        uid = claim["metadata"]["uid"]
        last, when = self.warned.get(uid, ("", 0.0))
        if last != message or time.monotonic() - when > 10:
            self.warned[uid] = message, time.monotonic()
            self.api.warn(claim, "ProvisioningFailed", message)


class Volumes:
    """Removes volumes whose claims are gone."""

    def __init__(self, api, disk):
        self.api, self.disk = api, disk

    def reconcile(self, key, volume):
        if volume is None or volume["metadata"].get("annotations", {}).get(PROVISIONED_BY) != DRIVER:
            return None
        released = volume.get("status", {}).get("phase") == "Released"
        if released and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
            self.disk.remove(self.disk.volume(key[1]))
            self.api.delete(f"/api/v1/persistentvolumes/{key[1]}")
            log(f"volume {key[1]}: removed")
        return None
