"""Contents of snapshots: those that name an existing snapshot become ready; those that go take theirs along."""

import os

from api import log
from snapshots import CONTENT_PROTECTION, CONTENTS, problem, without
from volumes import DRIVER


class Contents:
    def __init__(self, api, disk, mirrors):
        self.api, self.disk, self.mirrors = api, disk, mirrors

    def reconcile(self, key, content):
        if content is None or content["spec"]["driver"] != DRIVER:
            return None
        if "deletionTimestamp" in content["metadata"]:
            return self._delete(key[1], content)
        if "snapshotHandle" in content["spec"]["source"] and "readyToUse" not in content.get("status", {}):
            self._introduce(key[1], content)
        return None

    def _introduce(self, name, content):
        handle = content["spec"]["source"]["snapshotHandle"]
        path = self.disk.snapshot(handle)
        if "/" not in handle and os.path.isdir(path):
            status = {"readyToUse": True, "snapshotHandle": handle, "creationTime": self.disk.moment(path)}
        else:
            status = {"readyToUse": False, "error": problem(f"there is no snapshot {handle}")}
        self.api.patch(f"{CONTENTS}/{name}/status", {"status": status})

    def _delete(self, name, content):
        reference = content["spec"]["volumeSnapshotRef"]
        snapshot = self.mirrors["snapshots"].get((reference.get("namespace", ""), reference.get("name", "")))
        if (
            snapshot is not None
            and snapshot["metadata"]["uid"] == reference.get("uid")
            and "deletionTimestamp" not in snapshot["metadata"]
        ):
            # As long as it is in use, a content stays.
            return 0.2
        handle = content.get("status", {}).get("snapshotHandle")
        if handle and content["spec"]["deletionPolicy"] == "Delete":
            self.disk.remove(self.disk.snapshot(handle))
        finalizers = without(content["metadata"].get("finalizers"), CONTENT_PROTECTION)
        self.api.patch(f"{CONTENTS}/{name}", {"metadata": {"finalizers": finalizers}})
        log(f"content {name}: removed")
        return None
