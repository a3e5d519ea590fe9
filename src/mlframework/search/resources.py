"""What a worker of a search reserves."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from mlframework.config.base import Config


class Resources(Config):
    """What each worker has for itself."""

    cpu: Annotated[int, Field(ge=1)] = 1
    """CPU cores of a worker, and the threads of its trainings where `training.num_threads` is not given."""
    gpu: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of a worker: 0.5 lets two workers share one. Only with `--launcher ray`."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Memory that a node must have free for a worker; null: not looked at. Only with `--launcher ray`."""

    @model_validator(mode="after")
    def _gpus_are_shared_or_whole(self) -> Resources:
        if self.gpu > 1 and self.gpu != int(self.gpu):
            raise ValueError(f"gpu: {self.gpu} is neither a part of one GPU nor a whole number of them")
        return self

    def in_words(self) -> str:
        """Return `2 CPUs and 0.5 GPU`."""
        parts = [f"{self.cpu} CPU{'s' * (self.cpu != 1)}"]
        parts += [f"{self.gpu:g} GPU{'s' * (self.gpu > 1)}"] if self.gpu else []
        parts += [f"{self.memory_gb:g} GB of memory"] if self.memory_gb is not None else []
        return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
