"""torch's process group, and the store by which the ranks of a training tell each other what to do next."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed import distributed_c10d as c10d
from torch.distributed.rendezvous import rendezvous

from mlframework.learners.ranks import Place

PATIENCE = timedelta(minutes=5)
"""How long a rank waits for another one within a step: then it is taken to be gone."""
_SOON, _LATER = 0.001, 0.05  # seconds between two looks


class Group:
    """The default process group of this process, which can be made again after a rank has failed.

    Args:
        here: the place of this process.
    """

    def __init__(self, here: Place) -> None:
        store, _, _ = next(rendezvous("env://", here.rank, here.world))
        self._store, self._here = c10d.PrefixStore("mlframework", store), here
        self._generation = -1
        self._sockets: dict[int, str] = {}

    def join(self, generation: int) -> None:
        """Make the group of a generation with all other ranks, unless this is it."""
        if generation == self._generation:
            return
        self.leave()
        before = _open_sockets()
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            store=c10d.PrefixStore(f"group/{generation}", self._store),
            rank=self._here.rank,
            world_size=self._here.world,
            timeout=PATIENCE,
        )
        self._generation = generation
        self._sockets = {number: name for number, name in _open_sockets().items() if before.get(number) != name}

    def cut(self) -> None:
        """End what other ranks wait for from this one, at once: to them it is as if this process had died.

        Gloo has no call for it, and its group lives as long as anything refers to it.
        """
        there = _open_sockets()
        for number, name in self._sockets.items():
            if there.get(number) == name:
                with suppress(OSError), socket.socket(fileno=os.dup(number)) as connection:
                    # Gloo ends the process where its listening socket fails, which has no peer.
                    connection.getpeername()
                    connection.shutdown(socket.SHUT_RDWR)
        self._sockets = {}

    def leave(self) -> None:
        """Take the group down."""
        if distributed.is_initialized():
            distributed.destroy_process_group()
        self._generation = -1

    def tell(self, key: str, text: str) -> None:
        """Write what all ranks can read."""
        self._store.set(key, text)

    def read(self, key: str) -> str:
        """Return what was told, waiting for it for as long as it takes."""
        started = time.monotonic()
        while not self._store.check([key]):
            # Not a wait of the store: signals would not be heard before its end.
            time.sleep(_SOON if time.monotonic() - started < 1 else _LATER)
        return bytes(self._store.get(key)).decode()

    def is_told(self, key: str) -> bool:
        """Whether something was told."""
        return bool(self._store.check([key]))

    def forget(self, key: str) -> None:
        """Take back what was told."""
        self._store.delete_key(key)


def is_cut(error: BaseException) -> bool:
    """Whether an error is that of a connection to another rank, which says nothing of its cause."""
    if isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "ProcessGroup", "NCCL"))


def _open_sockets() -> dict[int, str]:
    """Return the sockets of this process by their numbers; a name tells each from all that ever were. {} where unknown."""
    found: dict[int, str] = {}
    with suppress(OSError):
        for entry in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                name = os.readlink(f"/proc/self/fd/{entry}")
                if name.startswith("socket:"):
                    found[int(entry)] = name
    return found
