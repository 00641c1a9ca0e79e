"""Copies of the API's collections, kept by watches, and the workers that bring each object to where it shall be."""

import http.client
import heapq
import threading
import time
import traceback

from api import ApiError, log

KINDS = {
    "storageclasses": "StorageClass",
    "volumesnapshotclasses": "VolumeSnapshotClass",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "persistentvolumes": "PersistentVolume",
    "volumesnapshots": "VolumeSnapshot",
    "volumesnapshotcontents": "VolumeSnapshotContent",
    "volumegroupsnapshots": "VolumeGroupSnapshot",
    "volumegroupsnapshotclasses": "VolumeGroupSnapshotClass",
}


def key_of(item):
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


class Mirror(threading.Thread):
    """All objects of one kind, by (namespace, name)."""

    def __init__(self, api, group, plural):
        super().__init__(daemon=True, name=plural)
        self.api, self.group, self.plural = api, group, plural
        self.kind = KINDS[plural]
        self.items = {}
        self.listeners = []
        self.listed = threading.Event()

    def collection(self, namespace):
        middle = f"/namespaces/{namespace}" if namespace else ""
        return f"{self.group}{middle}/{self.plural}"

    def path(self, key):
        namespace, name = key
        return f"{self.collection(namespace)}/{name}"

    def report(self, key, item, status):
        """Patches an object's status if it is another one: the same error at another time is no news."""
        old = item.get("status", {})
        error, old_error = status.get("error") or {}, old.get("error") or {}
        same = all(old.get(field) == value for field, value in status.items() if field != "error")
        if not same or error.get("message") != old_error.get("message"):
            self.api.patch(self.path(key) + "/status", {"status": status})

    def get(self, key):
        return self.items.get(key)

    def values(self):
        return list(self.items.values())

    def fetch(self, key):
        """The copy here, or the API's: a watch may lag behind what refers to the object."""
        return self.items.get(key) or self.api.get(self.path(key))

    def await_first_list(self):
        self.listed.wait()

    def run(self):
        while True:
            try:
                version = self._list()
                while True:
                    version = self._follow(version)
            except (ApiError, OSError, http.client.HTTPException, ValueError) as error:
                log(f"{self.plural}: reading again after {error!r}")
                time.sleep(0.5)

    def _list(self):
        answer = self.api.request("GET", f"{self.group}/{self.plural}")
        new = {}
        for item in answer["items"]:
            # Items of a list do not tell their kind.
            item.setdefault("kind", self.kind)
            new[key_of(item)] = item
        touched = set(self.items) | set(new)
        self.items = new
        self.listed.set()
        for key in touched:
            self._tell(key)
        return answer["metadata"]["resourceVersion"]

    def _follow(self, version):
        for event, item in self.api.watch(f"{self.group}/{self.plural}", version):
            version = item["metadata"]["resourceVersion"]
            if event == "BOOKMARK":
                continue
            key = key_of(item)
            if event == "DELETED":
                self.items.pop(key, None)
            else:
                self.items[key] = item
            self._tell(key)
        return version

    def _tell(self, key):
        for listener in self.listeners:
            listener(key)


class Reconciler:
    """Calls `reconcile(key, object or None)` whenever an object changed, never twice at once for the same one.

    What it returns is when to be called again, in seconds, or None.
    """

    def __init__(self, mirror, reconcile, workers=8):
        self.mirror, self.reconcile = mirror, reconcile
        self.due, self.scheduled = [], {}
        self.busy, self.again = set(), set()
        self.changed = threading.Condition()
        self.workers = workers

    def start(self):
        self.mirror.listeners.append(self.enqueue)
        for key in list(self.mirror.items):
            self.enqueue(key)
        for _ in range(self.workers):
            threading.Thread(target=self._work, daemon=True).start()

    def enqueue(self, key, delay=0.0):
        when = time.monotonic() + delay
        with self.changed:
            # Each key waits once, for the earliest of its times.
            if self.scheduled.get(key, when + 1) > when:
                self.scheduled[key] = when
                heapq.heappush(self.due, (when, key))
                self.changed.notify()

    def _take(self):
        with self.changed:
            while True:
                now = time.monotonic()
                if self.due and self.due[0][0] <= now:
                    when, key = heapq.heappop(self.due)
                    if self.scheduled.get(key) != when:
                        continue
                    del self.scheduled[key]
                    if key not in self.busy:
                        self.busy.add(key)
                        return key
                    self.again.add(key)
                    continue
                self.changed.wait(self.due[0][0] - now if self.due else None)

    def _work(self):
        while True:
            key = self._take()
            delay = None
            try:
                delay = self.reconcile(key, self.mirror.get(key))
            except (ApiError, OSError, http.client.HTTPException, RuntimeError) as error:
                log(f"{self.mirror.plural} {key}: {error}")
                delay = 0.5
            except Exception:  # noqa: BLE001 - a mistake here must not end the worker
                traceback.print_exc()
                delay = 5.0
            with self.changed:
                self.busy.discard(key)
                changed_meanwhile = key in self.again
                self.again.discard(key)
            if changed_meanwhile:
                self.enqueue(key)
            if delay is not None:
                self.enqueue(key, delay)
