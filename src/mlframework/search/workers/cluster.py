"""A Ray cluster: one that runs already, or one of our own on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlframework.errors import MissingExtraError, RunError
from mlframework.search.resources import Resources

_OWN = "local"
QUIET = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # or it builds an environment anew for each worker
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",  # idle processes that nobody asked for
    "RAY_worker_niceness": "0",  # what trains is no less important than what else runs here
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what a worker without GPUs sees is said by the relay
}
_ANSWERS = 10.0  # seconds that a cluster may take to let somebody in
_STORE = 200 * 2**20  # bytes of shared memory: on one machine all files lie where they belong


@dataclass
class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        address: where it is; None for one of our own.
        own: its folder of sockets and logs, where it is our own.
    """

    address: str | None
    own: str | None

    @classmethod
    def connect(cls, address: str | None) -> Cluster:
        """Join the cluster at an address, at `RAY_ADDRESS` where none is given, or start one on this machine.

        Raises:
            MissingExtraError: Ray is not installed.
            RunError: there is no cluster there, or it does not let us in.
        """
        address = check_address(address)
        import ray

        quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
        if address != _OWN:
            with _own_signals(), _refused(address):
                ray.init(address=address, **quiet)
            return cls(address, None)
        # In /tmp: the path of a socket may have 107 characters.
        own = tempfile.mkdtemp(prefix="mlframework-ray-", dir="/tmp" if os.path.isdir("/tmp") else None)
        try:
            with _own_signals(), _refused("a Ray of its own on this machine"):
                ray.init(address=_OWN, include_dashboard=False, object_store_memory=_STORE, _temp_dir=own, **quiet)
        except BaseException:
            ray.shutdown()
            shutil.rmtree(own, ignore_errors=True)
            raise
        return cls(None, own)

    def close(self) -> None:
        """Disconnect; one of our own ends."""
        import ray

        with _own_signals():
            ray.shutdown()
        if self.own is not None:
            shutil.rmtree(self.own, ignore_errors=True)

    def host(self) -> str:
        """Return the address by which its nodes reach this machine."""
        if self.own is not None:
            return "127.0.0.1"
        if self.address is not None and self.address.startswith("ray://"):
            there = urlsplit(self.address)
            with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((there.hostname, there.port or 10001))  # sends nothing: it chooses the way
                return str(probe.getsockname()[0])
        import ray

        return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]

    def refuse(self, resources: Resources) -> None:
        """Refuse what no node of the cluster has, even when nothing else runs.

        Raises:
            RunError: it names what the nodes have.
        """
        asked = asked_for(resources)
        nodes = self._nodes()
        if any(all(node.get(name, 0) >= much for name, much in asked.items()) for node in nodes):
            return
        has = "; ".join(_in_words(node) for node in nodes) or "nothing: no node of it lives"
        raise RunError(
            f"a worker needs {resources.in_words()} (search.resources), and no node of the Ray cluster has that; "
            f"its nodes have: {has}"
        )

    def free(self) -> str:
        """Say what is free in the cluster at present."""
        import ray

        return _in_words(ray.available_resources()) + " free"  # type: ignore[no-untyped-call]

    def _nodes(self) -> list[Mapping[str, float]]:
        import ray

        return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def asked_for(resources: Resources) -> dict[str, float]:
    """Return resources by the names that Ray has for them."""
    memory = {} if resources.memory_gb is None else {"memory": resources.memory_gb * 1e9}
    return {"CPU": resources.cpu, **({"GPU": resources.gpu} if resources.gpu else {}), **memory}


def _in_words(resources: Mapping[str, float]) -> str:
    cpu, gpu, memory = (resources.get(name, 0) for name in ("CPU", "GPU", "memory"))
    return f"{cpu:g} CPUs, {gpu:g} GPUs, {memory / 1e9:.1f} GB of memory"


def check_address(address: str | None) -> str:
    """Return where the cluster is that an option asks for, before anything is made that a search needs.

    Raises:
        MissingExtraError: Ray is not installed.
        RunError: there is no cluster.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray  # noqa: F401
    except ImportError:
        raise MissingExtraError("ray", "ray", "--launcher ray") from None
    address = address or os.environ.get("RAY_ADDRESS") or _OWN
    if address.startswith("ray://") and (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # a client does not look by itself
    if address == _OWN:
        return address
    with _refused(address):
        return _reached(address)


def _reached(address: str) -> str:
    """Return the address with `auto` resolved, once somebody listens there: Ray would wait for it for minutes.

    Raises:
        ConnectionError: there is no cluster.
        OSError: nobody listens.
    """
    if address == "auto":
        from ray._private.services import canonicalize_bootstrap_address

        address = canonicalize_bootstrap_address(address) or address
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ConnectionError(
            "no Ray cluster was found" if address == "auto" else "it should be auto, or ray://host:10001"
        )
    socket.create_connection((host, int(port)), timeout=_ANSWERS).close()
    return address


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what this process does on SIGTERM, which Ray would change, and Ray's warnings for developers out."""
    is_main = threading.current_thread() is threading.main_thread()
    handler: Callable[..., Any] | int | None = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if is_main and handler is not None:
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def _refused(address: str) -> Iterator[None]:
    """Turn what Ray raises into one message.

    Raises:
        RunError: with what Ray said.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RunError(
            f"--launcher ray: {address} can't be used: {said}; `ray status` says whether a cluster runs, "
            "`ray start --head` starts one, and without --ray-address there is one on this machine alone"
        ) from None
