"""The part of the `training:` section that a torch learner obeys."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mlframework.config.base import Config


class StepSettings(Config):
    """How a step is taken: batches, precision, gradients, loss."""

    trainer_type: Literal["standard", "mixed_precision", "distributed"] = "standard"
    """`standard` computes in float32; `mixed_precision` multiplies matrices in a 16-bit type; `distributed` is `standard` in
    several processes, which torchrun starts."""
    precision: Literal["bf16", "fp16"] = "bf16"
    """The 16-bit type of `mixed_precision`: bf16 anywhere, fp16 (with a gradient scaler) on CUDA."""
    batch_size: Annotated[int, Field(gt=0)] = 64
    """Examples that go through the model at once; of `distributed`, in all processes together."""
    gradient_clipping: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; a longer one is shortened to it. null: none is."""
    accumulation_steps: Annotated[int, Field(gt=0)] = 1
    """Batches whose gradients make one step: a step sees `batch_size * accumulation_steps` examples."""
    on_oom: Literal["fail", "accumulate"] = "fail"
    """What becomes of a step that runs out of memory: `fail` ends the training; `accumulate` repeats it with half as many
    examples at once, and sums their gradients up to that of the whole batch."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that is spread over all classes in the training loss (https://arxiv.org/abs/1512.00567)."""
    class_weights: Literal["balanced"] | list[Annotated[float, Field(gt=0)]] | None = None
    """Weight of each class in the training loss: `balanced` (inverse frequency), or a list in the order of the classes."""

    @model_validator(mode="after")
    def _fits(self) -> "StepSettings":
        if self.precision == "fp16" and self.trainer_type != "mixed_precision":
            raise ValueError("precision: fp16 has an effect only with trainer_type: mixed_precision")
        if self.on_oom == "accumulate" and self.trainer_type == "distributed":
            raise ValueError(
                "on_oom: accumulate is for one process; with trainer_type: distributed the others would wait for ever: lower "
                "batch_size, or start more processes"
            )
        return self
