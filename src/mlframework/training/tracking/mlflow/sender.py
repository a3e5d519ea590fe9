"""The thread that sends what lies in spools. A server that is away is asked again later, and costs the training nothing."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from mlframework.config.secrets import masked
from mlframework.training.tracking.mlflow.delivery import Delivery, NotYet, Refused, Server

_EVERY = 3.0  # seconds between two batches
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0  # seconds until a server that is away is asked again
_ONCE_MORE = 0.5  # seconds that a further end waits for a server that an end has waited for in vain
_SAID_AFTER = 2.0  # seconds: what is shorter nobody has to know
_AT_MOST = 120.0  # seconds that an end waits for a server that answers
_REQUESTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""MLflow's own patience is 7 retries of 120 seconds each: this here has its own; and it prints. What the user has set stays."""


class Sender:
    """Sends the spools of this process in the background."""

    def __init__(self) -> None:
        self._deliveries: dict[Path, Delivery] = {}
        self._outages: dict[str, _Outage] = {}
        self._servers: dict[str, Server] = {}
        self._lock = threading.Condition()
        self._is_urgent = False
        self._waited, self._answers = 0.0, 0  # how long ends have waited for servers since that many answers
        self._rounds = 0
        self._thread: threading.Thread | None = None
        self._only_to_servers = False

    def leave_files(self) -> None:
        """Send nothing to a file from now on: this disk is not the one that it lies on."""
        self._only_to_servers = True

    def add(self, folder: Path, uri: str, experiment: str) -> None:
        """Send what lies in a folder, and what will."""
        if self._only_to_servers and uri.startswith("sqlite"):
            return
        with self._lock:
            path = folder.resolve()
            known = self._deliveries.get(path)
            if known is None or (known.server.uri, known.experiment) != (uri, experiment):
                server = self._servers.setdefault(uri, Server(uri))
                self._outages.setdefault(uri, _Outage(masked(uri)))
                self._deliveries[path] = Delivery(path, server, experiment)
            self._deliveries[path].is_closed = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
                self._thread.start()

    def close(self, folder: Path) -> None:
        """Forget a folder once everything in it is sent."""
        with self._lock:
            if (delivery := self._deliveries.get(folder.resolve())) is not None:
                delivery.is_closed = True

    def drop(self) -> None:
        """Forget all folders: what is left in them whoever goes on sends, and waits for it as if nobody had before."""
        with self._lock:
            self._deliveries.clear()
            self._waited = 0.0

    def flush(self, seconds: float) -> list[Path]:
        """Wait until everything is sent.

        Args:
            seconds: for which a server is waited for that does not answer. What former ends have waited for it counts, so
                that several of them take no longer together; and one that has been away for a while is asked once.

        Returns:
            The folders of which something is left.
        """
        started = seen = time.monotonic()
        with self._lock:
            seconds = max(seconds, self._waited_in_vain() + _ONCE_MORE)
            before = {uri: outage.n_failures for uri, outage in self._outages.items()}
            for outage in self._outages.values():
                outage.next_try = 0.0  # one more attempt, whatever the pause
            while left := self._left():
                now = time.monotonic()
                self._waited, seen = self._waited_in_vain() + now - seen, now
                if (
                    self._waited > seconds
                    or now - started > _AT_MOST
                    or all(self._is_away(path, before) for path in left)
                ):
                    break
                self._is_urgent = True
                self._lock.notify_all()
                rounds = self._rounds
                self._lock.wait_for(lambda known=rounds: self._rounds != known, timeout=0.2)  # type: ignore[misc]
                # A model and a new database take a while before there is anything to ask the server for.
                if any(each.is_working or each.server.is_opening for each in self._deliveries.values()):
                    self._waited, seen = 0.0, time.monotonic()
            self._is_urgent = False
            return left

    def _is_away(self, folder: Path, before: Mapping[str, int]) -> bool:
        """Whether a folder's server is known to be away, and has not answered once more."""
        uri = self._deliveries[folder].server.uri
        outage = self._outages[uri]
        return outage.is_said and outage.n_failures > before.get(uri, 0)

    def _left(self) -> list[Path]:
        return [path for path, delivery in self._deliveries.items() if not delivery.is_done and not delivery.is_refused]

    def _waited_in_vain(self) -> float:
        """Return for how many seconds ends have waited since a server has last answered."""
        answers = sum(server.n_answers for server in self._servers.values())
        if answers != self._answers:
            self._waited, self._answers = 0.0, answers
        return self._waited

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._is_urgent, timeout=_EVERY)
                waiting = list(self._deliveries.items())
            sent_any = False
            for path, delivery in waiting:
                sent_any |= self._send(path, delivery)
            with self._lock:
                self._rounds += 1
                self._lock.notify_all()
            if self._is_urgent and not sent_any:
                time.sleep(0.05)

    def _send(self, path: Path, delivery: Delivery) -> bool:
        """Send what a folder has; return whether anything was sent. Whatever goes wrong, the thread lives on."""
        if not delivery.spool.exists:  # the run was taken away again
            with self._lock:
                self._deliveries.pop(path, None)
            return False
        outage = self._outages[delivery.server.uri]
        if delivery.is_refused or outage.is_pausing:
            return False
        sent, began = False, time.monotonic()
        try:
            if not delivery.is_done:
                with _brief_requests():
                    sent = delivery.send()
                outage.is_over(sent)
        except NotYet:
            outage.is_over(True)
        except Refused as error:
            delivery.is_refused = True
            _say(f"MLflow at {masked(delivery.server.uri)} takes nothing of {_shown(path)}: {error}")
        except Exception as error:  # noqa: BLE001 - the training goes on, whatever MLflow raises
            delivery.forget()
            if _is_final(error):
                delivery.is_refused = True
                _say(f"MLflow at {masked(delivery.server.uri)} takes nothing of {_shown(path)}: {_reason(error)}")
            else:
                outage.note(_plain(error), began, has_ended=self._is_urgent)
        if delivery.is_closed and delivery.is_done:
            with self._lock:
                if delivery.is_closed and delivery.is_done:
                    self._deliveries.pop(path, None)
        return sent


class _Outage:
    """Since when a server does not answer, and when it is asked again."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._since: float | None = None
        self._pause = _FIRST_PAUSE
        self.is_said = False
        self.n_failures = 0
        self.next_try = 0.0

    @property
    def is_pausing(self) -> bool:
        return time.monotonic() < self.next_try

    def note(self, reason: str, began: float, has_ended: bool) -> None:
        """Take note that it has not answered; say so once, if that lasts.

        Args:
            reason: why not.
            began: when it was asked: one that hangs has been away since then.
            has_ended: whether it is the end that waits for it.
        """
        now = time.monotonic()
        self.n_failures += 1
        self._since = began if self._since is None else self._since
        self.next_try = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        if not self.is_said and now - self._since >= _SAID_AFTER:
            self.is_said = True
            goes_on = "" if has_ended else "the training goes on, and "
            _say(
                f"MLflow at {self._title} does not answer ({reason}); {goes_on}what it misses is kept in the run's folder "
                f"and sent later ({time.strftime('%H:%M:%S')})"
            )

    def is_over(self, has_answered: bool) -> None:
        """Take note that it has answered."""
        if not has_answered:
            return
        if self.is_said:
            _say(f"MLflow at {self._title} answers again: what it missed is being sent ({time.strftime('%H:%M:%S')})")
        self._since, self._pause, self.is_said, self.next_try = None, _FIRST_PAUSE, False, 0.0


def say_what_is_left(left: list[Path], command: str) -> None:
    """Warn of what could not be sent, with the command that sends it."""
    if left:
        _say(
            f"MLflow has not had everything of {shown_folders(left)}; nothing is lost, this sends the rest: {command} "
            "(tracking.mlflow.tracking_uri may name another server: --tracking.mlflow.tracking_uri URI)"
        )


def shown_folders(folders: Sequence[Path]) -> str:
    """Name the first one, and how many others there are."""
    others = {1: "", 2: " and another folder"}.get(len(folders), f" and {len(folders) - 1} other folders")
    return _shown(folders[0]) + others


def _say(text: str) -> None:
    with suppress(Exception):  # where warnings are errors, they would end the thread
        warnings.warn(text, UserWarning, stacklevel=2)


def _shown(path: Path) -> str:
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _reason(error: Exception) -> str:
    return masked((str(error).strip() or type(error).__name__).splitlines()[0][:200])


_PLAIN = {
    "connection refused": ("connection refused",),
    "name not found": ("failed to resolve", "name or service not known", "name resolution", "getaddrinfo"),
    "timed out": ("timed out", "timeout"),
    "no secure connection: is its certificate valid?": ("sslerror", "certificate"),
    "no connection": ("max retries exceeded", "connection aborted", "unreachable"),
}
"""What is said of a server that does not answer, and by what in the error's text it is known."""


def _plain(error: Exception) -> str:
    """Return why a server does not answer, in plain words where there are any."""
    text = str(error).lower()
    return next((said for said, marks in _PLAIN.items() if any(mark in text for mark in marks)), _reason(error))


def _is_final(error: Exception) -> bool:
    """Whether the server has understood, and says no: a run that was deleted there, a value that it does not take."""
    from mlflow.exceptions import MlflowException

    codes = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS")
    return isinstance(error, MlflowException) and error.error_code in codes


@contextmanager
def _brief_requests() -> Iterator[None]:
    """Have MLflow wait briefly for an answer in this block; it reads these variables at every request."""
    mine = {name: value for name, value in _REQUESTS.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


@cache
def _sender_of(_process: int) -> Sender:
    return Sender()


def sender() -> Sender:
    """Return this process's sender; one that was forked has another than its parent."""
    return _sender_of(os.getpid())
