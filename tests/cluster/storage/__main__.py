"""The storage of the test cluster: volumes and snapshots that are subvolumes of one btrfs file system.

It stands where a CSI driver with its provisioner and snapshotter stands in a real cluster, and uses the API as they do.
Snapshots are real ones. By parameters of their VolumeSnapshotClass they come late, fail or never come (see README.md).
"""

import argparse
import signal
import sys
import threading

from api import Api
from btrfs import Btrfs
from contents import Contents
from groups import GROUPS, Groups
from mirror import Mirror, Reconciler
from snapshots import Snapshots
from volumes import Claims, Volumes

SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="the API server's address")
    parser.add_argument("--authority", required=True, help="the file with its certificate authority")
    parser.add_argument("--token", required=True, help="the file with the token to use")
    parser.add_argument("--folder", required=True, help="where the btrfs file system is mounted")
    parser.add_argument("--node", required=True, help="the node that volumes lie on")
    return parser.parse_args()


def main():
    options = arguments()
    with open(options.token, encoding="ascii") as file:
        api = Api(options.server, options.authority, file.read().strip())
    disk = Btrfs(options.folder)

    mirrors = {
        "storageclasses": Mirror(api, "/apis/storage.k8s.io/v1", "storageclasses"),
        "snapshotclasses": Mirror(api, SNAPSHOTS, "volumesnapshotclasses"),
        "claims": Mirror(api, "/api/v1", "persistentvolumeclaims"),
        "volumes": Mirror(api, "/api/v1", "persistentvolumes"),
        "snapshots": Mirror(api, SNAPSHOTS, "volumesnapshots"),
        "contents": Mirror(api, SNAPSHOTS, "volumesnapshotcontents"),
        "groups": Mirror(api, GROUPS, "volumegroupsnapshots"),
        "groupclasses": Mirror(api, GROUPS, "volumegroupsnapshotclasses"),
    }
    for mirror in mirrors.values():
        mirror.start()
    for mirror in mirrors.values():
        mirror.await_first_list()
    Reconciler(mirrors["snapshots"], Snapshots(api, disk, mirrors).reconcile).start()
    Reconciler(mirrors["groups"], Groups(api, disk, mirrors).reconcile).start()
    Reconciler(mirrors["contents"], Contents(api, disk, mirrors).reconcile).start()
    Reconciler(mirrors["claims"], Claims(api, disk, mirrors, options.node).reconcile).start()
    Reconciler(mirrors["volumes"], Volumes(api, disk).reconcile).start()
    print("serving", flush=True)

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


if __name__ == "__main__":
    sys.exit(main())
