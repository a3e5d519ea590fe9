"""Workers on a Ray cluster, each a process beside an actor that reserves its resources and passes on what it says."""

from __future__ import annotations

import json
import os
import re
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlframework.errors import MlframeworkError, RunError
from mlframework.runs import write_text, writing
from mlframework.search.ledgers import open_ledger
from mlframework.search.loop import write_outputs
from mlframework.search.mirror import behind
from mlframework.search.proxy import StorageProxy
from mlframework.search.resources import Resources
from mlframework.search.storage import file_of
from mlframework.search.workers.cluster import Cluster, asked_for
from mlframework.search.workers.job import Event, Job, Post
from mlframework.search.workers.launch import Workers, resources_of
from mlframework.search.workers.parcel import Parcel, pack, unpack
from mlframework.search.workers.relay import Order, Relay

if TYPE_CHECKING:
    from mlframework.search.read import ReadConfig
    from mlframework.search.study import OpenStudy

_LOOK = 0.5  # seconds between two looks at whether a worker has a place yet
_PATIENCE = 10.0  # seconds after which it is said that it has none
_SHORTLY = 5.0  # seconds that killing a worker may take


def ray_launcher(study: OpenStudy, read: ReadConfig, workers: Workers) -> RayLauncher:
    """Return what starts workers on a cluster, which it joins or starts.

    Raises:
        MlframeworkError: there is no cluster, or none that has what a worker needs.
    """
    cluster = Cluster.connect(workers.ray_address)
    try:
        cluster.refuse(resources_of(read))
        return RayLauncher(
            study, cluster, resources_of(read), _serve(study, cluster) if workers.storage_proxy else None
        )
    except BaseException:
        cluster.close()
        raise


def _serve(study: OpenStudy, cluster: Cluster) -> StorageProxy:
    # Not the mirror: what the workers write is not this process's.
    storage = behind(study.study._storage)
    return StorageProxy(storage, cluster.host(), lambda study_id: open_ledger(storage, study_id))


class RayLauncher:
    """Starts an actor a worker, which starts the worker's process.

    Args:
        study: what is searched.
        cluster: where.
        resources: what each worker reserves there.
        proxy: by which they reach the study's storage; None: they do so themselves.
    """

    def __init__(self, study: OpenStudy, cluster: Cluster, resources: Resources, proxy: StorageProxy | None) -> None:
        self._study, self._cluster, self._resources, self._proxy = study, cluster, resources, proxy
        self._mark = f".ray-{uuid.uuid4().hex}"
        self._marks = [study.spec.folder.path / self._mark]
        file = file_of(study.spec.storage)
        self._journal = None
        if file is not None and study.spec.storage.startswith("journal"):
            self._journal = file.parent / self._mark
            self._marks.append(self._journal)
        for path in self._marks:
            write_text(path, "tells Ray's workers that they see this folder\n")
        self._outputs = threading.Lock()
        self.done = threading.Event()

    def start(self, job: Job, post: Post) -> RayWorker:
        """Start one, as soon as there is room for it.

        Raises:
            RunError: its log can't be written.
        """
        import ray

        log = self._study.spec.folder.worker_log(job.number)
        with writing(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            file = log.open("ab", buffering=0)
        asked = asked_for(self._resources)
        relay = ray.remote(Relay).options(
            num_cpus=asked.pop("CPU"), num_gpus=asked.pop("GPU", 0), memory=asked.pop("memory", None), max_concurrency=4
        )  # fmt: skip
        order = Order(
            job=replace(job, storage=self._proxy.url if self._proxy is not None else None),
            folder=Path.cwd(), study=self._study.spec.folder.path, mark=self._mark, journal=self._journal,
            environment=_variables(job.tree), has_gpu=self._resources.gpu > 0, version=version("mlframework"),
        )  # fmt: skip
        return RayWorker(self, relay.remote(), order, file, post)

    def close(self) -> None:
        """Leave the cluster, or end it where it is our own."""
        for path in self._marks:
            path.unlink(missing_ok=True)
        self._cluster.close()
        if self._proxy is not None:
            self._proxy.close()

    def lacks(self) -> str:
        """Say what a worker waits for."""
        return f"{self._resources.in_words()} on the Ray cluster, which has {self._cluster.free()}"

    def parcel(self, number: int) -> Parcel:
        """Return a trial's run folder, as far as it came."""
        return pack(self._study.spec.folder.trial(number).path)

    def put(self, number: int, parcel: Parcel) -> None:
        """Put a trial's run folder where it belongs."""
        unpack(parcel, self._study.spec.folder.trial(number).path)

    def write_outputs(self) -> None:
        """Write what a worker that sees the study's folder writes after each trial."""
        with self._outputs:
            write_outputs(self._study)


class RayWorker:
    """A worker on a node."""

    def __init__(self, launcher: RayLauncher, relay: Any, order: Order, log: IO[bytes], post: Post) -> None:
        self._launcher, self._relay, self._log = launcher, relay, log
        self._number, self._post = order.job.number, post
        self._told, self._runs = threading.Event(), threading.Event()
        started = relay.start.remote(order)
        threading.Thread(target=self._attend, args=(started,), name=f"worker-{self._number}", daemon=True).start()

    def stop(self) -> None:
        """Ask it to save its trial and leave."""
        self._told.set()
        if self._runs.is_set():
            with suppress(Exception):  # it is gone already
                self._relay.stop.remote()

    def kill(self) -> None:
        """End it at once."""
        import ray

        self._told.set()
        with suppress(Exception):  # it is gone already
            if self._runs.is_set():
                ray.get(self._relay.kill.remote(), timeout=_SHORTLY)
            ray.kill(self._relay)

    def _attend(self, started: Any) -> None:
        from ray.exceptions import RayActorError, RayTaskError

        try:
            gone = self._listen(started)
        except RayActorError as error:
            gone = self._failed(error) if _cant_import(error) else _gone("killed", _of_actor(error))
        except RayTaskError as error:
            gone = self._failed(error.cause)
        except MlframeworkError as error:
            gone = self._failed(error)
        except Exception as error:  # noqa: BLE001 - whatever Ray raises: the worker can't be heard any more
            gone = _gone("killed", f"lost: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        if gone["how"] == "done":
            self._launcher.done.set()
        self.kill()
        self._log.close()
        self._post(self._number, gone)

    def _failed(self, error: BaseException) -> Event:
        if isinstance(error, MlframeworkError):
            said = {"event": "error", "kind": type(error).__name__, "message": str(error)}
            self._post(self._number, said)
            return _gone("error", str(error))
        text = str(error)
        if _cant_import(error):
            module = re.findall(r"No module named '([\w.]+)'", text)
            node = re.search(r"\bip=([\w.:]+)", text)
            what = (
                f"node {node[1] if node else 'of the Ray cluster'} can't import {module[-1] if module else 'mlframework'}; "
                'install mlframework in the Python that `ray start` runs with on every node: pip install "mlframework[all]"'
            )
            return self._failed(RunError(what))
        return _gone("defect", f"{type(error).__name__}: {text}")

    def _listen(self, started: Any) -> Event:
        """Pass on what the worker says until it is gone; return how."""
        import ray

        if not self._wait(started):
            return _gone("done" if self._launcher.done.is_set() else "left", "it had no place on the cluster")
        about: Mapping[str, Any] = ray.get(started)
        self._runs.set()
        where = (
            f"worker {self._number} is process {about['pid']} on node {about['node']}, beside Ray's {about['relay']}"
        )
        self._log.write(f"{where}\n".encode())
        if self._told.is_set():
            self._relay.stop.remote()
        while True:
            for event in ray.get(self._relay.hear.remote()):
                if event["event"] == "gone":
                    return dict(event)
                self._take(event, about["copies"])

    def _wait(self, started: Any) -> bool:
        """Wait until the worker was started; return whether it was, since it may have become needless."""
        import ray

        say_at: float | None = time.monotonic() + _PATIENCE
        while not ray.wait([started], timeout=_LOOK)[0]:
            if self._told.is_set() or self._launcher.done.is_set():
                return False
            if say_at is not None and time.monotonic() > say_at:
                say_at = None
                text = f"worker {self._number} waits for {self._launcher.lacks()}"
                self._post(self._number, {"event": "news", "text": text})
        return True

    def _take(self, event: Event, copies: bool) -> None:
        import ray

        name = event["event"]
        if name == "log":
            self._log.write(event["text"])
        elif name == "folder":
            self._launcher.put(event["number"], event["parcel"])
        else:
            if copies and name == "trial_started":
                ray.get(self._relay.give.remote(event["number"], self._launcher.parcel(event["number"])))
            if copies and name == "trial_ended":
                self._launcher.write_outputs()
            self._post(self._number, event)


def _gone(how: str, why: str) -> Event:
    return {"event": "gone", "how": how, "why": why}


def _cant_import(error: BaseException) -> bool:
    return "failed to import" in str(error) or "No module named" in str(error)


def _of_actor(error: Exception) -> str:
    text = " ".join(str(error).split())
    return (
        "lost with its node"
        if "node" in text.lower() and "died" in text.lower()
        else "lost with Ray's process beside it"
    )


def _variables(tree: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables that a config names."""
    names = set(re.findall(r"\$\{(\w+)\}", json.dumps(tree)))
    return {name: os.environ[name] for name in names if name in os.environ}
