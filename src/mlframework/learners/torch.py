"""A torch module as a Learner."""

import copy
import io
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from mlframework import metrics
from mlframework.data.batches import Batches, Fetch
from mlframework.errors import CheckpointError, TrainingError
from mlframework.learners.base import LearnerSpec, Outputs, ignore_batches
from mlframework.learners.precision import Accumulation, Clip, Precision, build_precision
from mlframework.learners.tasks import Task
from mlframework.optim import Schedule

Export = Callable[[nn.Module, Path], None]
"""Writes a trained module, and what a predictor needs beside it, into a folder."""


class TorchCodec:
    """States on disk as torch files; read with `weights_only`, so that a file can hold no code."""

    def dump(self, state: Mapping[str, Any], path: Path) -> None:
        """Write the state to a file."""
        # Serialised in memory first: torch reports a full disk as a RuntimeError without errno, a plain write does not.
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        path.write_bytes(buffer.getbuffer())

    def load(self, path: Path) -> dict[str, Any]:
        """Read a state.

        Raises:
            CheckpointError: the file is missing, cut short, or holds something else.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001 - the unpickler raises whatever the bytes lead it to
            reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0][:200]
            raise CheckpointError(
                f"{path}: cannot be read as a checkpoint; it is cut short or not ours ({reason}); delete the folder "
                f"{path.parent} to train from the first epoch"
            ) from None
        if not isinstance(state, dict):
            raise CheckpointError(f"{path}: is a torch file, but not a checkpoint of mlframework")
        return state


@dataclass(frozen=True)
class Stepping:
    """How a step is taken: the objects that vary, so that the learner branches on none of them."""

    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    accumulation: Accumulation
    clip: Clip


class TorchLearner:
    """Trains a torch module for a task on batches.

    Args:
        module: takes the batches' inputs and returns raw outputs (b, width).
        task: the loss, and what the raw outputs mean.
        batches: by split; `train` is there always.
        stepping: how a step is taken.
        wanted: names of the metrics of each split, without split.
        export: writes the serving artifact.
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task,
        batches: Mapping[str, Batches],
        stepping: Stepping,
        wanted: Mapping[str, tuple[str, ...]],
        export: Export,
    ) -> None:
        self.codec = TorchCodec()
        self.on_batch: Callable[[int, int], None] = ignore_batches
        self.module, self.task = module, task
        self.n_parameters = sum(parameter.numel() for parameter in module.parameters())
        self._batches, self._stepping, self._wanted, self._export = batches, stepping, wanted, export
        self._watched: float | None = None
        self._outputs: dict[str, Outputs] = {}

    def train_epoch(self) -> dict[str, float]:
        """Train for one epoch; the metrics are of the outputs as they were while training."""
        stepping = self._stepping
        if self._watched is not None:
            with warnings.catch_warnings():
                # The first epoch after a resume: torch does not know of the steps that were taken before.
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
                stepping.schedule.after_epoch(self._watched)
        self._outputs.clear()
        self.module.train()
        raw_outputs: list[Tensor] = []
        all_targets: list[Tensor] = []
        n_batches = len(self._batches["train"])
        for group in stepping.accumulation.groups(self._batches["train"]):
            for batch in group:
                inputs, targets = batch
                with stepping.precision.autocast():
                    raw = self.module(*inputs)
                    loss = self.task.loss(raw, targets)
                stepping.precision.backward(stepping.accumulation.share(loss, batch, group, self.task.weight))
                raw_outputs.append(raw.detach())
                all_targets.append(targets)
            stepping.precision.step(stepping.optimizer, stepping.clip)
            stepping.optimizer.zero_grad(set_to_none=True)
            stepping.schedule.after_step()
            self.on_batch(len(raw_outputs), n_batches)
        found = self._measure("train", torch.cat(all_targets).cpu().numpy(), self._values(raw_outputs))
        self._watched = found["loss"]
        return found

    def evaluate(self, split: str) -> dict[str, float]:
        """Return the metrics of a split."""
        outputs = self.outputs(split)
        found = self._measure(split, outputs.targets, outputs.values)
        if split == "val":
            self._watched = found["loss"]
        return found

    def outputs(self, split: str) -> Outputs:
        """Return what the module says of each example of a split, without dropout; kept until the next epoch."""
        if split in self._outputs:
            return self._outputs[split]
        batches = self._batches[split]
        if batches.order is not None:
            raise ValueError(f"{split} comes augmented and in random order; it has no outputs, only val and test have")
        self.module.eval()
        with torch.inference_mode(), self._stepping.precision.autocast():
            raw_outputs = [self.module(*inputs) for inputs, _ in batches]
        found = Outputs(self.task.name, batches.targets, self._values(raw_outputs), self.task.class_names)
        self._outputs[split] = found
        return found

    def _values(self, raw_outputs: list[Tensor]) -> NDArray[np.floating]:
        return self.task.values(torch.cat(raw_outputs)).cpu().numpy()

    def _measure(self, split: str, targets: NDArray[Any], values: NDArray[np.floating]) -> dict[str, float]:
        try:
            return dict(metrics.compute(self.task.name, self._wanted[split], targets, values))
        except ValueError as error:
            raise TrainingError(f"{split} metrics: {error}") from None

    def learning_rate(self) -> float | None:
        """Return the learning rate of the first parameter group."""
        return float(self._stepping.optimizer.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimizer, schedule, precision, and every random state that the next epoch draws from."""
        order = self._batches["train"].order
        return {
            "module": self.module.state_dict(),
            "optimizer": self._stepping.optimizer.state_dict(),
            "schedule": self._stepping.schedule.state_dict(),
            "precision": self._stepping.precision.state_dict(),
            "watched": self._watched,
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "rng_order": order.get_state() if order is not None else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a state back.

        Raises:
            CheckpointError: it is the state of another model.
        """
        try:
            self.module.load_state_dict(state["module"])
            # torch would keep the very tensors of the state, and the next step would write into them.
            self._stepping.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
            self._stepping.schedule.load_state_dict(state["schedule"])
            self._stepping.precision.load_state_dict(state["precision"])
            self._watched = state["watched"]
            torch.set_rng_state(state["rng"])
            if state["rng_cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["rng_cuda"])
            order = self._batches["train"].order
            if order is not None:
                order.set_state(state["rng_order"])
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"the checkpoint is of another model or optimizer: {reason}") from None
        self._outputs.clear()

    def export(self, folder: Path) -> None:
        """Write the serving artifact."""
        self._export(self.module, folder)


def build_learner(
    spec: LearnerSpec,
    make_module: Callable[[], nn.Module],
    task: Task,
    fetches: Mapping[str, Fetch],
    export: Export,
) -> TorchLearner:
    """Put a learner together from a model's parts.

    Args:
        spec: the settings, the data and the seed.
        make_module: called after seeding, so that the weights depend on the seed alone.
        task: the loss, and what raw outputs mean.
        fetches: where the inputs of each split come from; `train` may augment.
        export: writes the serving artifact.
    """
    torch.manual_seed(spec.seed)
    module = make_module().to(spec.device)
    batches = _batches(spec, fetches)
    _try_out(module, batches["train"])
    accumulation = Accumulation(spec.settings.accumulation_steps)
    optimizer = spec.optimizer.build(module.parameters())
    steps = accumulation.steps_per_epoch(len(batches["train"]))
    stepping = Stepping(
        optimizer=optimizer,
        schedule=spec.scheduler.build(optimizer, spec.num_epochs, steps),
        precision=build_precision(spec.settings, spec.device),
        accumulation=accumulation,
        clip=Clip(module, spec.settings.gradient_clipping),
    )
    wanted = {split: _wanted(task, split, spec.metrics) for split in (*batches, "train")}
    return TorchLearner(module, task, batches, stepping, wanted, export)


def _batches(spec: LearnerSpec, fetches: Mapping[str, Fetch]) -> dict[str, Batches]:
    parts = {"train": spec.splits.train, "val": spec.splits.val, "test": spec.splits.test}
    found: dict[str, Batches] = {}
    for split, fetch in fetches.items():
        part = parts[split]
        if part is not None:
            order = torch.Generator().manual_seed(spec.seed) if split == "train" else None
            # Without gradients four times the batch fits, and fewer, larger batches are faster.
            batch_size = spec.settings.batch_size * (1 if order is not None else 4)
            found[split] = Batches(fetch, part.targets, batch_size, spec.device, order)
    return found


def _wanted(task: Task, split: str, names: Iterable[str]) -> tuple[str, ...]:
    known = metrics.METRICS[task.name]
    for name in names:
        if name.partition("_")[2] not in known:
            raise TrainingError(
                f"metric: {name} has no meaning in a {task.name}, which this data is; it has val_{', val_'.join(known)}"
            )
    asked = [name.partition("_")[2] for name in names if name.partition("_")[0] == split or split == "test"]
    return tuple(dict.fromkeys([*metrics.ALWAYS[task.name], *asked]))


def _try_out(module: nn.Module, batches: Batches) -> None:
    """Pass two examples through, so that a model that does not fit its data is said before any training.

    As in training: batch normalisation refuses a batch of one only there. What it notes of the two is taken back.
    """
    rng = torch.get_rng_state()
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    module.train()
    try:
        with torch.no_grad():
            module(*batches.peek(min(2, batches.smallest)))
            for buffer, before in buffers:
                buffer.copy_(before)
    except (RuntimeError, ValueError, AssertionError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"the model cannot take this data: {reason}; another data.image_size or training.batch_size may help"
        ) from None
    finally:
        torch.set_rng_state(rng)
