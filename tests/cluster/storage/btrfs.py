"""The file system that volumes and snapshots lie on."""

import contextlib
import os
import subprocess
import time


class Btrfs:
    def __init__(self, folder):
        self.folder = folder
        for name in ("volumes", "snapshots"):
            os.makedirs(os.path.join(folder, name), exist_ok=True)

    def volume(self, handle):
        return os.path.join(self.folder, "volumes", handle)

    def snapshot(self, handle):
        return os.path.join(self.folder, "snapshots", handle)

    def make(self, path):
        """An empty volume, owned by root with mode 0755, as drivers make them."""
        if not os.path.isdir(path):
            self._run("create", path)
        os.chmod(path, 0o755)

    def copy(self, source, path):
        """A writable copy of a volume or a snapshot: owners and modes are those of the source."""
        if not os.path.isdir(path):
            self._run("snapshot", source, path)

    def cut(self, source, path):
        """The moment of the cut in nanoseconds since 1970. An existing snapshot stays as it is."""
        if not os.path.isdir(path):
            self._run("snapshot", "-r", source, path)
            with open(path + ".moment", "w", encoding="ascii") as file:
                file.write(str(time.time_ns()))
        return self.moment(path)

    @staticmethod
    def moment(path):
        """When an existing snapshot was cut: its own times are those of what it shows."""
        with open(path + ".moment", encoding="ascii") as file:
            return int(file.read())

    def remove(self, path):
        if os.path.isdir(path):
            self._run("delete", path)
        with contextlib.suppress(FileNotFoundError):
            os.remove(path + ".moment")

    @staticmethod
    def _run(*command):
        done = subprocess.run(["btrfs", "subvolume", *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"btrfs subvolume {command[0]}: {done.stderr.strip()}")
