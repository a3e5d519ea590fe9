"""Several ranks in a test: the test's own process leads, and others follow it, without torchrun."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

_FOLLOW = "from mlframework.learners.follower import follow; follow()"


@dataclass(frozen=True)
class Team:
    """Ranks of which this process is the first.

    Attributes:
        followers: the other ones.
        port: where they meet.
    """

    followers: Sequence["subprocess.Popen[bytes]"]
    port: int

    @property
    def world(self) -> int:
        """How many ranks there are."""
        return len(self.followers) + 1

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Make this process the first of the ranks for as long as it lasts."""
        with mock.patch.dict(os.environ, _variables(0, self.world, self.port)):
            yield


@contextmanager
def team_of(world: int) -> Iterator[Team]:
    """Start the other ranks, and let them end."""
    from mlframework.learners import team

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    followers = [
        subprocess.Popen([sys.executable, "-c", _FOLLOW], env=os.environ | _variables(rank, world, port))
        for rank in range(1, world)
    ]
    found = Team(followers, port)
    try:
        yield found
        with found.leading():
            team.dismiss()
        for follower in followers:
            follower.wait(timeout=10)
    finally:
        for follower in followers:
            follower.kill()
            follower.wait()
        with found.leading():
            team._leader().group.leave()
        team._leader.cache_clear()


def _variables(rank: int, world: int, port: int) -> dict[str, str]:
    values = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {name: str(value) for name, value in values.items()}
