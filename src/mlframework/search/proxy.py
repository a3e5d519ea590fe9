"""A study's storage for processes that can't reach its database: Optuna's gRPC proxy, with the leases beside it.

The process that serves it alone opens the database, so that it may be a file of its own disk. The leases can't be kept
through Optuna's calls: a claim has to be the first one, and the attributes of a study in a database have no order. So the
server has a second service on the same port, which hands the calls to the ledger of the database, one after the other.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mlframework.errors import RunError, StorageError
from mlframework.search.lease import Lease, Ledger

if TYPE_CHECKING:
    import grpc
    from optuna.storages import BaseStorage, GrpcStorageProxy

SCHEME = "grpc://"
_SERVICE, _METHOD = "mlframework.Ledger", "Call"
_THREADS = 32  # of the server: each call of a worker has one for as long as the database takes
_READY = 30.0  # seconds that a server may take to answer at first


class StorageProxy:
    """Serves a storage and its leases.

    Args:
        storage: what is served.
        host: the address of this machine that workers know it by; nobody else should be able to reach it.
        open_ledger: gives the ledger of a study, by its number.

    Raises:
        RunError: nothing can be served there.
    """

    def __init__(self, storage: BaseStorage, host: str, open_ledger: Callable[[int], Ledger]) -> None:
        import grpc
        from optuna.storages._grpc.auto_generated import api_pb2_grpc
        from optuna.storages._grpc.servicer import OptunaStorageProxyService

        self._open_ledger = open_ledger
        self._ledgers: dict[int, Ledger] = {}
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(_THREADS, "storage-proxy"))
        api_pb2_grpc.add_StorageServiceServicer_to_server(OptunaStorageProxyService(storage), self._server)  # type: ignore[no-untyped-call]
        handler = grpc.unary_unary_rpc_method_handler(self._answer)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: handler}),))
        try:
            port = self._server.add_insecure_port(f"{host}:0")
        except RuntimeError:
            port = 0
        if not port:
            raise RunError(f"--storage-proxy: can't listen at {host}, which the workers would reach this machine by")
        self.url = f"{SCHEME}{host}:{port}"
        self._server.start()

    def close(self) -> None:
        """Serve no longer."""
        self._server.stop(grace=1.0).wait()

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = json.loads(request)
        with self._lock:
            if asked["study"] not in self._ledgers:
                self._ledgers[asked["study"]] = self._open_ledger(asked["study"])
            ledger = self._ledgers[asked["study"]]
        if asked["what"] == "read":
            return json.dumps([asdict(lease) for lease in ledger.read(asked["first"])]).encode()
        write = {"insert": ledger.insert, "replace": ledger.replace, "update": ledger.update}[asked["what"]]
        return json.dumps(write(Lease(**asked["lease"]))).encode()


class ProxyLedger:
    """The leases behind a proxy."""

    def __init__(self, storage: GrpcStorageProxy, study_id: int) -> None:
        self._call, self._study_id = storage._channel.unary_unary(f"/{_SERVICE}/{_METHOD}"), study_id

    def read(self, first: int = 0) -> list[Lease]:
        """Return the lease in force of each place, in order, from a first place on."""
        return [Lease(**each) for each in self._ask("read", first=first)]

    def insert(self, lease: Lease) -> bool:
        """Claim a place that nobody has claimed."""
        return bool(self._ask("insert", lease))

    def replace(self, lease: Lease) -> bool:
        """Take a place over."""
        return bool(self._ask("replace", lease))

    def update(self, lease: Lease) -> bool:
        """Change a lease that is still in force."""
        return bool(self._ask("update", lease))

    def _ask(self, what: str, lease: Lease | None = None, first: int = 0) -> Any:
        told = asdict(lease) if lease is not None else None
        asked = {"study": self._study_id, "what": what, "lease": told, "first": first}
        return json.loads(self._call(json.dumps(asked).encode()))


def open_proxy(url: str) -> BaseStorage:
    """Return the storage that a proxy serves.

    Raises:
        StorageError: nothing answers there.
    """
    import warnings

    from optuna.storages import GrpcStorageProxy

    host, _, port = url.removeprefix(SCHEME).rpartition(":")
    if not host or not port.isdigit():
        raise StorageError(f"search.storage: {url!r} is no address of a proxy, which is grpc://host:port")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental, says Optuna
        storage = GrpcStorageProxy(host=host, port=int(port))
    storage.wait_server_ready(timeout=_READY)
    return storage


def said_by_proxy(error: BaseException) -> str | None:
    """Return what a proxy said is wrong, or None where it is not a proxy that raised."""
    if not type(error).__module__.startswith("grpc"):
        return None
    details = getattr(error, "details", lambda: None)()
    return str(details or error).strip().splitlines()[0]
