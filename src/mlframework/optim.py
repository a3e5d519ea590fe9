"""OPTIMIZERS: each with its config. torch is imported where one is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mlframework.adam import at_once
from mlframework.config.base import Config
from mlframework.uncompiled import without_compiler

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def _built(name: str, parameters: Iterable[Tensor], config: Any, **settings: Any) -> Optimizer:
    from torch import optim

    kind: Callable[..., Optimizer] = without_compiler(getattr(optim, name))
    if name.startswith("Adam"):
        kind = at_once(kind)
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay, **settings)


class Sgd(Config):
    """Stochastic gradient descent with momentum."""

    type: Literal["sgd"]
    lr: PositiveFloat = 0.01
    """Learning rate."""
    momentum: Fraction = 0.9
    """Share of the last step that is taken again."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """L2 penalty on the weights."""
    nesterov: bool = False
    """Whether the gradient is taken after the momentum step; needs momentum above 0."""
    fused: bool = False
    """Step over all weights in one pass: less time for small networks, and the last digits of the weights differ."""

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """Return the torch optimizer."""
        nesterov = self.nesterov and self.momentum > 0
        return _built("SGD", parameters, self, momentum=self.momentum, nesterov=nesterov, fused=self.fused or None)


class _AdamSettings(Config):
    lr: PositiveFloat = 0.001
    """Learning rate."""
    beta1: Fraction = 0.9
    """Decay of the gradient's running mean."""
    beta2: Fraction = 0.999
    """Decay of the squared gradient's running mean."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator against division by zero."""
    fused: bool = False
    """Step over all weights in one pass: less time for small networks, and the last digits of the weights differ."""


class Adam(_AdamSettings):
    """Adam (Kingma and Ba, 2015, https://arxiv.org/abs/1412.6980)."""

    type: Literal["adam"] = "adam"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """L2 penalty on the weights."""

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """Return the torch optimizer."""
        return _built("Adam", parameters, self, betas=(self.beta1, self.beta2), eps=self.eps, fused=self.fused or None)


class AdamW(_AdamSettings):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019, https://arxiv.org/abs/1711.05101)."""

    type: Literal["adamw"]
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay."""

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """Return the torch optimizer."""
        return _built("AdamW", parameters, self, betas=(self.beta1, self.beta2), eps=self.eps, fused=self.fused or None)


class RmsProp(Config):
    """RMSprop (Hinton, 2012)."""

    type: Literal["rmsprop"]
    lr: PositiveFloat = 0.001
    """Learning rate."""
    alpha: Fraction = 0.99
    """Decay of the squared gradient's running mean."""
    momentum: Fraction = 0.0
    """Share of the last step that is taken again."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """L2 penalty on the weights."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator against division by zero."""

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """Return the torch optimizer."""
        return _built("RMSprop", parameters, self, alpha=self.alpha, momentum=self.momentum, eps=self.eps)


OPTIMIZERS: dict[str, type[Config]] = {"sgd": Sgd, "adam": Adam, "adamw": AdamW, "rmsprop": RmsProp}
OptimizerConfig = Annotated[Sgd | Adam | AdamW | RmsProp, Field(discriminator="type")]
