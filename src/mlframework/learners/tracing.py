"""A trace of torch's operations, and what they cost in words."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_SHOWN = 5  # operations that are named


class OperationTracer:
    """Traces every operation of this process, and those of a GPU.

    Args:
        device: that the learner computes on.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gpu = [ProfilerActivity.CUDA] if device.type == "cuda" else []
        self._profile: Any = profile(activities=[ProfilerActivity.CPU, *gpu], acc_events=True)

    def start(self) -> None:
        """Begin."""
        self._profile.start()

    def stop(self, file: Path) -> list[str]:
        """End, write the trace to a file, and return in lines what was computed on, and what cost most."""
        self._profile.stop()
        self._profile.export_chrome_trace(str(file))
        averages = self._profile.key_averages()
        on_gpu = sum(each.self_device_time_total for each in averages)
        costs = {each.key: each.self_device_time_total for each in averages} if on_gpu else self._on_processor()
        total = sum(costs.values()) or 1.0
        first = sorted(costs, key=costs.__getitem__, reverse=True)[:_SHOWN]
        named = ", ".join(f"{name.removeprefix('aten::')} {costs[name] / total:.0%}" for name in first)
        return [self._on(on_gpu), f"costliest operations of {len(costs)}, by their own time: {named}"]

    def _on_processor(self) -> dict[str, float]:
        """Return the time of each operation: its calls times their median, since one call that had to wait proves nothing."""
        calls: dict[str, list[float]] = defaultdict(list)
        for event in self._profile.events():
            calls[event.name].append(event.self_cpu_time_total)
        return {name: len(each) * median(each) for name, each in calls.items()}

    def _on(self, busy: float) -> str:
        """Return what it was computed on; of a GPU also which share of the time it was busy, `busy` in microseconds."""
        if self._device.type != "cuda":
            return f"device: {self._device}, {torch.get_num_threads()} of {os.cpu_count()} cores"
        events = [each for each in self._profile.events() if each.device_type.name != "CUDA"]
        whole = max(each.time_range.end for each in events) - min(each.time_range.start for each in events)
        most = torch.cuda.max_memory_allocated(self._device) / 1e6
        name = torch.cuda.get_device_name(self._device)
        return f"device: {name}, busy {busy / whole:.0%} of the traced time, at most {most:,.0f} MB of its memory"
