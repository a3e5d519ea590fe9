"""The commands in a process of their own that need not import anything again: a copy of the tests' process."""

import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def forked(main: Callable[[], object], arguments: Sequence[str], stdout: str | None = None) -> Ended:
    """Run a command to its end in a copy of this process; it really ends, as a killed or failed one does.

    Args:
        main: the command's entry point.
        arguments: its name, and what follows it.
        stdout: where its output goes, a path; None: it is returned.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        # Threads of earlier tests are not in the copy, and what they hold would be held for ever.
        assert threading.active_count() == 1, threading.enumerate()
        child = os.fork()
        if child == 0:
            _become(main, arguments, stdout or str(out), str(err))
        _, status = os.waitpid(child, 0)
        told = err.read_text(), out.read_text() if out.exists() else ""
    assert "Traceback" not in "".join(told), told
    return Ended(os.waitstatus_to_exitcode(status), told[1], told[0])


def _become(main: Callable[[], object], arguments: Sequence[str], out: str, err: str) -> None:
    """Never return: pytest's own end must not happen twice."""
    code = 99
    try:
        for path, number in ((out, 1), (err, 2)):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        sys.argv = list(arguments)
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 98
    except BaseException:  # noqa: BLE001 - whatever it is, it must not go on as a second pytest
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
