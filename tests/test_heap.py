"""What is freed and asked for again: read from the kernel's counts of pages, each in a process of its own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlframework import heap

# Not by asking `heap`: were it not to find glibc, these tests are what should fail.
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone has thresholds")

COUNTS = """
import os, resource, sys
from mlframework.heap import given_back, keep_freed

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])
"""
FREED = 40_000_000 // os.sysconf("SC_PAGE_SIZE")
"""Pages of what is freed below: more than glibc would come to keep by itself."""
AGAIN = """
def again(times):
    before = faults()
    for _ in range(times):
        b"x" * 40_000_000
    return faults() - before
"""


def said(code: str, folder: Path, **environment: str) -> list[int]:
    clean = {name: value for name, value in os.environ.items() if name not in heap._OWN_SAY}
    done = subprocess.run(
        [sys.executable, "-c", COUNTS + code],
        capture_output=True, text=True, check=True, cwd=folder, env={**clean, **environment},
    )  # fmt: skip
    return [int(number) for number in done.stdout.splitlines()[-1].split()]


def test_what_is_freed_is_kept_for_what_is_asked_for_next(tmp_path: Path) -> None:
    usual, kept = said(AGAIN + "usual = again(10); keep_freed(); again(2); print(usual, again(10))", tmp_path)
    assert usual > 9 * FREED
    assert kept < FREED


def test_it_is_given_back_when_asked(tmp_path: Path) -> None:
    code = """
with given_back():
    keep_freed()
    b"x" * 40_000_000
    kept = resident()
left = resident()
b"x" * 80_000_000
print(kept, left, resident())
"""
    kept, left, later = said(code, tmp_path)
    assert kept - left > 0.9 * FREED
    assert later - left < FREED  # not kept any more


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_environment_says_stands(name: str, tmp_path: Path) -> None:
    value = "glibc.malloc.mmap_threshold=131072" if name == "GLIBC_TUNABLES" else "131072"
    (found,) = said(AGAIN + "keep_freed(); again(2); print(again(10))", tmp_path, **{name: value})
    assert found > 9 * FREED


def test_a_training_keeps_it_from_step_to_step_and_gives_it_back(tmp_path: Path) -> None:
    """Weights of 3200 x 3200: their gradient is 41 MB, in each step."""
    rows = np.random.default_rng(0).normal(size=(400, 3))
    np.savetxt(
        tmp_path / "table.csv", np.column_stack([rows, rows[:, 0] > 0]), "%.3g", ",", header="a,b,c,y", comments=""
    )
    code = """
import mlframework
from mlframework.training import loop
found, epoch = [], loop._epoch
def counted(*arguments):
    before = faults()
    ended = epoch(*arguments)
    found.append((faults() - before, resident()))
    return ended
loop._epoch = counted
data = {"type": "table", "path": "table.csv", "target": "y", "task": "regression"}
model = {"architecture": "mlp", "hidden_size": 3200, "hidden_layers": 2}
training = {"num_epochs": 4, "batch_size": 32, "num_threads": 1}
config = {"name": "large", "device": "cpu", "data": data, "model": model, "metric": "val_loss"}
mlframework.train(config | {"optimizer": {"type": "sgd", "lr": 0.001}, "training": training})
print(min(pages for pages, _ in found[1:]), max(pages for _, pages in found), resident())
"""
    of_an_epoch, while_training, after = said(code, tmp_path)
    step = 41_000_000 // os.sysconf("SC_PAGE_SIZE")
    assert of_an_epoch < 4 * step  # of ten steps, each with a gradient
    assert while_training - after > step
