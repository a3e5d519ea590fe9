"""Mutated configs: whatever the file says, the commands end with exit 0 or with exit 2 and a message."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from support.fuzzing import Fuzzer, config_texts, is_short
from support.mutations import configs

TEXTS = config_texts()
SHORT, LONG = 25, int(os.environ.get("FUZZ_CONFIGS", "500"))


def _fuzz(fuzzer: Fuzzer, examples: int) -> str:
    @settings(
        max_examples=examples,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(configs(TEXTS))
    def check(written: bytes) -> None:
        with fuzzer.folder():
            Path("config.yaml").write_bytes(written)
            shown = fuzzer.run("ml-train", "--config", "config.yaml", "--print-config")
            fuzzer.run("ml-search", "--config", "config.yaml", "--print-config")
            if shown.code == 0 and is_short(shown.out):
                fuzzer.run("ml-train", "--config", "config.yaml", "--training.num_epochs", "1")
                fuzzer.run("ml-search", "--config", "config.yaml", "--n-trials", "2")

    check()
    assert fuzzer.grown() < 2
    return fuzzer.tally.line("configs")


def test_mutated_configs(fuzzer: Fuzzer, record_property: Callable[[str, object], None]) -> None:
    record_property("counts", _fuzz(fuzzer, SHORT))


@pytest.mark.slow
def test_many_mutated_configs(fuzzer: Fuzzer, record_property: Callable[[str, object], None]) -> None:
    record_property("counts", _fuzz(fuzzer, LONG))
