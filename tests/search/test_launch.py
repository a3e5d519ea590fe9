"""What `--launcher` and `search.resources` ask for, and what is refused before a study is made."""

import sys
from pathlib import Path
from typing import Any

import pytest

from mlframework.errors import ConfigError, MissingExtraError
from mlframework.search.read import ReadConfig, read_config
from mlframework.search.workers.launch import Workers
from support.searches import write_config

POSTGRES = "postgresql://me:${MLF_PASSWORD}@host/db"
RAY = Workers.asked_for(None, "ray", None, False)
PROXIED = Workers.asked_for(None, "ray", None, True)
HERE = Workers.asked_for(2, "local", None, False)


@pytest.fixture(autouse=True)
def _environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLF_PASSWORD", "secret")


def _read(changes: dict[str, Any], workers: Workers = RAY) -> ReadConfig:
    return read_config(str(write_config(changes)), {}, at_once=workers.at_once, threads=workers.threads)


def test_a_cluster_has_two_workers_unless_somebody_says_more() -> None:
    assert (RAY.count, Workers.asked_for(5, "ray", None, False).count) == (2, 5)
    alone = Workers.asked_for(None, "local", None, False)
    assert alone.is_this_process and not Workers.asked_for(1, "ray", None, False).is_this_process


@pytest.mark.parametrize(
    ("written", "resources", "workers", "threads"),
    [
        (None, {"cpu": 3}, RAY, 3),
        (None, {"cpu": 3}, HERE, 3),
        (None, None, RAY, 1),
        (2, {"cpu": 3}, RAY, 2),
        (2, None, RAY, 2),
    ],
)
def test_a_training_has_the_threads_of_its_workers_cores(
    written: int | None, resources: dict[str, int] | None, workers: Workers, threads: int
) -> None:
    read = _read({"training.num_threads": written, "search.resources": resources}, workers)
    assert read.space is not None and read.space.base["training"]["num_threads"] == threads


@pytest.mark.parametrize(
    ("workers", "changes", "match"),
    [
        (RAY, {}, r"search\.storage: SQLite is a file of one machine's disk.*postgresql.*--storage-proxy"),
        (
            PROXIED,
            {"search.storage": "journal:///x.log"},
            r"search\.storage: Optuna's proxy can't stand in front of a journal",
        ),
        (RAY, {"search.storage": POSTGRES, "device": "cuda"}, r"device: cuda needs a GPU.*search\.resources\.gpu"),
        (
            RAY,
            {"search.storage": POSTGRES, "device": "cuda:1", "search.resources.gpu": 1},
            "device: cuda:1: Ray chooses which GPU",
        ),
        (HERE, {"search.resources.gpu": 0.5}, r"search\.resources\.gpu: is reserved by --launcher ray only"),
        (HERE, {"search.resources.memory_gb": 2}, r"search\.resources\.memory_gb: is reserved by --launcher ray only"),
    ],
)
def test_what_the_workers_cannot_search_is_refused(workers: Workers, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        workers.check(_read(changes))


@pytest.mark.parametrize(
    ("workers", "changes"),
    [
        (RAY, {"search.storage": POSTGRES}),
        (RAY, {"search.storage": "journal:///x.log"}),
        (RAY, {"search.storage": POSTGRES, "search.resources.gpu": 0.5, "device": "cuda"}),
        (PROXIED, {}),
        (HERE, {"search.resources.cpu": 2}),
    ],
)
def test_what_they_can_is_not_refused(workers: Workers, changes: dict[str, Any]) -> None:
    workers.check(_read(changes))


def test_a_missing_package_is_named_before_a_study_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'--launcher ray needs ray, .*pip install "mlframework\[ray\]"'):
        RAY.check(_read({"search.storage": POSTGRES}))


@pytest.mark.parametrize("value", [1.5, -1, "two"])
def test_gpus_are_shared_or_whole(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"search\.resources(\.gpu)?: "):
        _read({"search.resources.gpu": value})


@pytest.mark.parametrize(
    ("launcher", "address", "proxy", "match"),
    [
        ("local", "auto", False, "--ray-address: has an effect with --launcher ray only"),
        ("local", None, True, "--storage-proxy: has an effect with --launcher ray only"),
        ("rey", None, False, "launcher: unknown launcher 'rey'; did you mean 'ray'"),
    ],
)
def test_options_without_effect_are_refused(launcher: str, address: str | None, proxy: bool, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Workers.asked_for(2, launcher, address, proxy)
