"""SAMPLERS: how hyperparameters are suggested.

A sampler is built anew for each trial, seeded by the study's seed and the trial's place in the study: a study that
is resumed, or shared by several processes, never repeats its draws.
"""

from typing import Annotated

from pydantic import Field

from mlframework.config.base import Config
from mlframework.search.samplers.base import Sampler, Traits, trial_seed
from mlframework.search.samplers.botorch import BoTorchSampler
from mlframework.search.samplers.cma_es import CmaEsSampler
from mlframework.search.samplers.gaussian_process import GPSampler
from mlframework.search.samplers.genetic import NSGAIIISampler, NSGAIISampler
from mlframework.search.samplers.grid import GridSampler, grid_cells, grid_coverage
from mlframework.search.samplers.hyperopt import HyperoptSampler
from mlframework.search.samplers.sequences import QMCSampler, RandomSampler
from mlframework.search.samplers.tpe import TPESampler

__all__ = ["ALGORITHMS", "SAMPLERS", "GridSampler", "Sampler", "SamplerConfig", "TPESampler", "Traits", "grid_cells",
           "grid_coverage", "trial_seed"]  # fmt: skip

SAMPLERS: dict[str, type[Config]] = {
    "TPESampler": TPESampler,
    "RandomSampler": RandomSampler,
    "QMCSampler": QMCSampler,
    "GridSampler": GridSampler,
    "BruteForceSampler": GridSampler,
    "CmaEsSampler": CmaEsSampler,
    "GPSampler": GPSampler,
    "BoTorchSampler": BoTorchSampler,
    "HyperoptSampler": HyperoptSampler,
    "NSGAIISampler": NSGAIISampler,
    "NSGAIIISampler": NSGAIIISampler,
}
SamplerConfig = Annotated[
    TPESampler
    | RandomSampler
    | QMCSampler
    | GridSampler
    | CmaEsSampler
    | GPSampler
    | BoTorchSampler
    | HyperoptSampler
    | NSGAIISampler
    | NSGAIIISampler,
    Field(discriminator="type"),
]

ALGORITHMS = {"bayesian": "GPSampler", "optuna": "TPESampler", "hyperopt": "HyperoptSampler"}
"""Short name of `search.algorithm` to the sampler that it means."""
