"""What a training ran on: the versions and the machine that may change the last digits of a result."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

_PACKAGES = (
    "mlframework", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "implicit", "optuna", "polars", "pillow",
)  # fmt: skip
_VARIABLES = (
    "ATEN_CPU_CAPABILITY", "CUBLAS_WORKSPACE_CONFIG", "MKL_CBWR", "NVIDIA_TF32_OVERRIDE", "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)  # fmt: skip
"""Variables that choose between ways to compute the same."""
_VERSION = re.compile(r"^Version: *(\S+)", re.MULTILINE)
_INSTRUCTIONS = ("amx_tile", "avx512f", "avx2", "avx")


@lru_cache(maxsize=1)
def environment() -> Mapping[str, Any]:
    """Return the versions of Python and of the packages that results hang on, the system, and the processors."""
    installed = {name: _version(name) for name in _PACKAGES}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name, version in installed.items() if version is not None},
        "processor": _processor(),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "gpus": [
            name
            for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
            if (name := _field(path, "Model")) is not None
        ],
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what is other than it was, `torch 2.14.0 -> 2.15.0`; what was not recorded then is passed over."""
    packages, present = then.get("packages", {}), now.get("packages", {})
    found = [
        f"{name} {packages.get(name, 'none')} -> {present.get(name, 'none')}"
        for name in dict.fromkeys((*packages, *present))
        if packages and packages.get(name) != present.get(name)
    ]
    found += [
        f"{name} {then['variables'].get(name, 'unset')} -> {now['variables'].get(name, 'unset')}"
        for name in _VARIABLES
        if "variables" in then and then["variables"].get(name) != now["variables"].get(name)
    ]
    for key in ("python", "platform", "processor", "gpus"):
        if key in then and then[key] != now.get(key):
            found.append(f"{key} {_shown(then[key])} -> {_shown(now.get(key))}")
    return found


def _processor() -> str:
    """Return the processor, with the widest of its instructions: those that share a name may differ in these."""
    about = Path("/proc/cpuinfo")
    name = _field(about, "model name") or platform.processor() or platform.machine()
    flags = (_field(about, "flags") or "").split()
    widest = next((each for each in _INSTRUCTIONS if each in flags), None)
    return f"{name} ({widest})" if widest is not None else name


def _shown(value: Any) -> str:
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)


def _version(package: str) -> str | None:
    try:
        found = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    # `found.version` reads the whole description, as a letter with attachments.
    line = _VERSION.search(found.read_text("METADATA") or "")
    return line[1] if line is not None else found.version


def _field(path: Path, name: str) -> str | None:
    """Return the first value of a field in a file of `name : value` lines."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), None)
