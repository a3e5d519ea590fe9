"""Commands in processes of their own that need not import anything: copies of one that has imported it all.

That one never trains: a copy of a process in which torch has run threads would wait for those for ever.
"""

import importlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 240  # seconds after which a command is killed
_LATER = (
    "alembic.command", "optuna.samplers._tpe.sampler", "optuna.storages._rdb.models", "optuna.storages.journal",
    "plotly.graph_objects", "polars", "rich.progress", "safetensors.torch", "sklearn.model_selection",
    "mlframework.cli.progress", "mlframework.cli.search_screen", "mlframework.models.mlp", "mlframework.search.diagnosis",
    "mlframework.training.tracking.board", "mlframework.training.tracking.pictures", "mlframework.visualise.report.sections",
)  # fmt: skip
"""What each command would import anew: up to two seconds of processor time."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def nothing() -> None:
    """Do nothing."""


class Forker:
    """Starts commands, one after another."""

    def __init__(self) -> None:
        code = f"import sys; sys.path[:0] = [{str(Path(__file__).parents[1])!r}]; from support import forked; forked.serve()"
        self._server = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def close(self) -> None:
        """End the process that commands are copied from."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(PATIENCE)

    def run(
        self, arguments: Sequence[str], prepare: Callable[[], object] = nothing, stdout: Path | None = None
    ) -> Ended:
        """Run a command in the present folder to its end; no command ever shows a traceback.

        Args:
            arguments: `ml-search` or `ml-train`, and what follows it.
            prepare: called in the copy beforehand; a function of tests/support, or a partial of one.
            stdout: where its output goes; None: it is returned.
        """
        assert self._server.stdin is not None and self._server.stdout is not None
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            pickle.dump((os.getcwd(), list(arguments), prepare, stdout or out, err), self._server.stdin)
            self._server.stdin.flush()
            code = pickle.load(self._server.stdout)
            told = out.read_text() if out.exists() else "", err.read_text()
        assert "Traceback" not in "".join(told), told
        return Ended(code, *told)


def serve() -> None:
    """Run the commands that are asked for, until nothing more can be asked."""
    import torch

    from mlframework.cli import search, train
    from mlframework.training import checkpoint
    from support import searches

    # What the commands import later on, and the first optimizer of a process.
    assert searches.open_search and torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    for name in _LATER:
        importlib.import_module(name)
    # Tests count epochs by their checkpoints: let each have one, as those have that take longer.
    checkpoint.PACE = 0.0

    answers = os.fdopen(os.dup(1), "wb")
    mains = {"ml-search": search.main, "ml-train": train.main}
    while True:
        try:
            folder, arguments, prepare, out, err = pickle.load(sys.stdin.buffer)
        except EOFError:
            os._exit(0)  # an end with torch in it takes seconds
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            _become(mains[arguments[0]], arguments, prepare, out, err)
        pickle.dump(os.waitstatus_to_exitcode(_wait(child)), answers)
        answers.flush()


def _wait(child: int) -> int:
    end = time.monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


def _become(
    main: Callable[[], object], arguments: Sequence[str], prepare: Callable[[], object], out: Path, err: Path
) -> None:
    """Run the command, and never return."""
    code = 99
    try:
        for path, number in ((Path(os.devnull), 0), (out, 1), (err, 2)):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        sys.argv = list(arguments)
        prepare()
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 98
    except BaseException:  # noqa: BLE001 - whatever it is, this process must end here
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
        except OSError as error:
            # As the interpreter does when it ends.
            sys.stderr.write(f"Exception ignored: {error!r}\n")
            code = 120
        sys.stderr.flush()
        os._exit(code)
