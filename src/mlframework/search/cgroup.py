"""How many processes of this one's control group the system has killed for want of memory (Linux only).

A process that is killed so says nothing. Whoever finds it dead can compare the count with what it was when the process began.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT, _PROC = Path("/sys/fs/cgroup"), Path("/proc")


@dataclass(frozen=True)
class OomKills:
    """The count of a control group, as it was once.

    Attributes:
        machine: host and boot: after a reboot all counts begin anew.
        file: where the count stands.
        inode: of that file's folder: another group may have the same path, later or in another container.
        count: processes of the group, and of those within it, that the system has killed.
    """

    machine: str
    file: str
    inode: int
    count: int

    @classmethod
    def now(cls) -> OomKills | None:
        """Return the count of this process's group, or None where there is none to be read."""
        for path in _candidates():
            found = _read(path)
            if found is not None:
                return found
        return None

    @classmethod
    def of(cls, entry: Any) -> OomKills | None:
        """Take back what `to_dict` returned."""
        return cls(**entry) if entry else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return dict(self.__dict__)

    def again(self) -> OomKills | None:
        """Return the count of the same group now, or None where this process can't read it."""
        found = _read(Path(self.file))
        return found if found is not None and self.is_of(found) else None

    def is_of(self, other: OomKills) -> bool:
        """Whether both are of one group."""
        return (self.machine, self.file, self.inode) == (other.machine, other.file, other.inode)


def _candidates() -> list[Path]:
    """Return the files that may have the count: version 2 of control groups, then version 1.

    In a container the path of the group may be the host's, and the group itself is the root of what is seen.
    """
    found = []
    with suppress(OSError):
        for line in (_PROC / "self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            inner = path.lstrip("/")
            if number == "0":
                found += [_ROOT / inner / "memory.events", _ROOT / "memory.events"]
            elif "memory" in controllers.split(","):
                found += [_ROOT / "memory" / inner / "memory.oom_control", _ROOT / "memory/memory.oom_control"]
    return found


def _read(path: Path) -> OomKills | None:
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return OomKills(_machine(), str(path), path.parent.stat().st_ino, int(count))
    return None


def _machine() -> str:
    boot = ""
    with suppress(OSError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()}-{boot}"
