"""Which device a torch learner trains on."""

from dataclasses import replace

import torch

from mlframework.errors import TrainingError
from mlframework.heap import keep_freed
from mlframework.learners.base import LearnerSpec, n_threads
from mlframework.learners.distribution import device_of_rank


def on_device(spec: LearnerSpec) -> LearnerSpec:
    """Return the spec with its device resolved (`auto` is a GPU where there is one).

    Torch has its number of threads from then on, and the memory that a step frees is kept for the next one.

    Raises:
        TrainingError: the device is not there.
    """
    torch.set_num_threads(spec.num_threads or n_threads())
    keep_freed()
    if spec.settings.trainer_type == "distributed":
        return replace(spec, device=device_of_rank(spec.device))
    if spec.device == "auto":
        if torch.cuda.is_available():
            return replace(spec, device="cuda")
        return replace(spec, device="mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = spec.device.partition(":")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(index or 0) >= there:
        raise TrainingError(f"device: {spec.device} is not there ({there} of that kind); use auto or cpu")
    return spec
