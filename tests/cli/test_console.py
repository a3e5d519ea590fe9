"""How every command ends: exit codes, messages, warnings."""

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest

from mlframework.cli import console
from mlframework.errors import DataError, Terminated


@pytest.fixture
def ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs a command, and returns its exit code and what it said on stderr."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(console, "_resume_hint", [])
    handler = signal.getsignal(signal.SIGTERM)

    def run(command: Callable[[], None]) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            console.run(command)
        return int(end.value.code or 0), capsys.readouterr().err

    yield run
    signal.signal(signal.SIGTERM, handler)


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("data: empty"), 2, "data: empty\n"),
        (KeyboardInterrupt(), 130, "interrupted; nothing was lost\n"),
        (Terminated(), 143, "terminated; nothing was lost\n"),
        (OSError(28, "No space left on device", "x/y"), 2, "x/y: No space left on device\n"),
        (OSError("odd"), 2, "a file: odd\n"),
    ],
)
def test_what_ends_a_command_is_one_message(
    ended: Callable[..., tuple[int, str]], error: BaseException, code: int, message: str
) -> None:
    assert ended(raising(error)) == (code, message)


def test_a_command_that_ends_well_says_nothing(ended: Callable[..., tuple[int, str]]) -> None:
    assert ended(lambda: None) == (0, "")


def test_a_defect_shows_where_and_asks_to_be_reported(ended: Callable[..., tuple[int, str]]) -> None:
    code, message = ended(raising(ZeroDivisionError("ours")))
    assert code == 1 and "Traceback" in message and "ZeroDivisionError: ours" in message
    assert message.endswith("this is a defect of mlframework; please report it with the lines above and the config\n")


def test_the_hint_of_how_to_go_on(ended: Callable[..., tuple[int, str]]) -> None:
    def command() -> None:
        console.say_on_interrupt("an older hint")
        console.say_on_interrupt("go on with: ml-train --resume x")
        os.kill(os.getpid(), signal.SIGTERM)

    assert ended(command) == (143, "terminated; go on with: ml-train --resume x\n")


def test_our_own_warnings_are_lines_and_those_of_others_are_not_shown(ended: Callable[..., tuple[int, str]]) -> None:
    def command() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            source = console.__file__
            warnings.warn_explicit("3 files are unreadable", UserWarning, source, 1)
            warnings.warn_explicit("old", DeprecationWarning, source, 1)
            warnings.warn_explicit("theirs", UserWarning, "/site-packages/torch/x.py", 1)

    assert ended(command) == (0, "warning: 3 files are unreadable\n")


def test_a_reader_that_goes_away_is_no_fault() -> None:
    code = "from mlframework.cli import console\nconsole.run(lambda: [print('x' * 1000) for _ in range(10_000)])"
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert writer.stdout is not None and writer.stderr is not None
    writer.stdout.readline()
    writer.stdout.close()
    assert (writer.wait(), writer.stderr.read()) == (141, "")
    writer.stderr.close()


def test_at_the_end_of_a_command_python_looks_for_no_garbage() -> None:
    """What was registered before is called after: it sees what the interpreter's last collection will look at."""
    code = """
import atexit, gc
@atexit.register
def last():
    print(gc.get_freeze_count() > 1000, gc.get_count()[0] < 100)
from mlframework.cli import console
console.run(lambda: None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_a_command_reads_no_metadata_of_what_is_installed() -> None:
    code = """
import importlib.metadata
read = importlib.metadata.distributions
calls = []
importlib.metadata.distributions = lambda *a, **k: calls.append(1) or read(*a, **k)
def command():
    import mlframework.experiment
    print(len(calls))
from mlframework.cli import console
console.run(command)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]


WORKER = """
import atexit, os, sys
from mlframework.cli import worker
from mlframework.errors import RunError
class Large:
    def __del__(self, write=os.write):
        write(1, b"taken down")
sys.kept = Large()
def work():
    atexit.register(print, "told")
    print("said")
    if sys.argv[1:]:
        raise RunError("away")
worker._main = work
worker.main()
"""


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["fails"], 2)])
def test_a_worker_ends_at_once_with_its_code_and_all_that_was_said(arguments: list[str], code: int) -> None:
    """What is at the end of every process is done, but nothing is taken down that the system frees anyway."""
    done = subprocess.run([sys.executable, "-c", WORKER, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (code, ["said", "told"])
    assert done.stderr == ("away\n" if code else "")


LINES = """
import sys
from mlframework.cli import console
screen = console.out()
screen.print("a path of /runs/:bug:/x, [bold]and brackets[/], " + "long " * 40)
screen.print("no end", end="", markup=False, soft_wrap=True)
screen.print("\\x1b[31mred ± …")
console.err().print("said")
assert not screen.is_terminal and "rich" not in sys.modules
from rich.table import Table
table = Table("a column")
table.add_row("a cell")
screen.print(table)
assert "rich.console" in sys.modules and screen.width > 20
"""


def test_where_there_is_no_terminal_lines_are_written_as_they_are_and_rich_is_not_imported() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == "said\n" and done.returncode == 0
    first, second, *table = done.stdout.splitlines()
    assert first == "a path of /runs/:bug:/x, [bold]and brackets[/], " + "long " * 40
    assert second == "no end?[31mred ~ ."
    assert "a column" in table[1] and any("a cell" in line for line in table)


@pytest.mark.parametrize("module", ["", "triton"])
def test_where_triton_is_loaded_all_is_collected_as_usual(module: str) -> None:
    """What nanobind has bound would be listed on stderr as leaked."""
    code = f"""
import atexit, gc, sys
atexit.register(lambda: print(gc.get_freeze_count()))
from mlframework.cli import console
console.run(lambda: sys.modules.setdefault({module!r} or "json", None))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (int(done.stdout) == 0) == bool(module)


GONE = """
import os, signal, sys, time, weakref
from mlframework.cli import console

class Gone:
    def __del__(self):
        if sys.argv[1] == "error":
            raise ValueError("odd")
        os.kill(os.getpid(), signal.Signals[sys.argv[1]])
        for _ in range(1000):  # the handler runs between two of these
            pass

def command():
    Gone()
    print("went on", flush=True)
    time.sleep(float(sys.argv[2]))  # the work, which a signal cuts short
    print("to the end")

console.run(command)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_that_arrives_where_python_lets_no_error_out_ends_the_command(name: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", GONE, name, "60"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "went on\n"), done.stderr
    assert "ignored" not in done.stderr
    assert done.stderr.startswith(("interrupted", "terminated"))


def test_other_errors_that_python_lets_not_out_are_shown_as_ever() -> None:
    done = subprocess.run([sys.executable, "-c", GONE, "error", "0"], capture_output=True, text=True, check=True)
    assert done.stdout == "went on\nto the end\n"
    assert "ValueError: odd" in done.stderr
