"""How the other frameworks train a classifier, each as its own documentation has it; run by their environment alone.

Every one validates each epoch and keeps the best weights, as ours and the script by hand do.
"""

from dataclasses import dataclass
from typing import Any

from common import an_epoch


@dataclass(frozen=True)
class Classifier:
    """What is trained.

    Attributes:
        module: a torch module.
        optimizer: a class of torch.optim.
        settings: of the optimizer, `lr` among them.
        train: a torch data set.
        val: a torch data set.
        batch: its size; of val four times that.
        epochs: how many.
        order: of the training examples: an iterable, new every epoch; None: shuffled.
        n_classes: how many there are.
    """

    module: Any
    optimizer: Any
    settings: dict[str, Any]
    train: Any
    val: Any
    batch: int
    epochs: int
    order: Any = None
    n_classes: int = 10

    def loaders(self) -> tuple[Any, Any]:
        """Return the loaders of train and val."""
        from torch.utils.data import DataLoader

        given: dict[str, Any] = {"shuffle": True} if self.order is None else {"sampler": self.order}
        return DataLoader(self.train, self.batch, **given), DataLoader(self.val, 4 * self.batch)


def skorch(what: Classifier) -> dict[str, Any]:
    """Train with skorch, with a checkpoint of the best epoch."""
    import time
    import warnings

    import torch
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Callback, Checkpoint
    from skorch.helper import predefined_split
    from torch import nn

    warnings.simplefilter("ignore")
    ends: list[float] = []

    class Watch(Callback):  # type: ignore[misc]
        def on_epoch_end(self, net: Any, **_: Any) -> None:
            ends.append(time.perf_counter())

    torch.set_num_threads(1)
    order: dict[str, Any] = {"iterator_train__sampler": what.order}
    net = NeuralNetClassifier(
        what.module,
        criterion=nn.CrossEntropyLoss,
        optimizer=what.optimizer,
        **{f"optimizer__{name}": each for name, each in what.settings.items() if name != "lr"},
        lr=what.settings["lr"],
        max_epochs=what.epochs,
        batch_size=what.batch,
        **({"iterator_train__shuffle": True} if what.order is None else order),
        iterator_valid__batch_size=4 * what.batch,
        train_split=predefined_split(what.val),
        callbacks=[("best", Checkpoint(monitor="valid_loss_best", dirname="skorch")), ("watch", Watch())],
        classes=list(range(what.n_classes)),
        verbose=0,
    )
    started = time.perf_counter()
    net.fit(what.train, y=None)
    seconds = time.perf_counter() - started
    losses, accuracies = net.history[:, "valid_loss"], net.history[:, "valid_acc"]
    return {"fit": seconds, "epoch": an_epoch(ends), "val_loss": float(min(losses)), "val_acc": float(max(accuracies))}


def lightning(what: Classifier) -> dict[str, Any]:
    """Train with Lightning, with its CSV log and a checkpoint of the best epoch."""
    import logging
    import time
    import warnings

    import lightning
    import torch
    from lightning.pytorch.callbacks import Callback, ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger
    from torch.nn import functional

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    ends: list[float] = []
    found: list[tuple[float, float]] = []

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = what.module

        def training_step(self, batch: Any, _: int) -> Any:
            loss = functional.cross_entropy(self.module(batch[0]), batch[1])
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, _: int) -> None:
            raw = self.module(batch[0])
            self.log("val_loss", functional.cross_entropy(raw, batch[1]))
            self.log("val_acc", (raw.argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self) -> Any:
            return what.optimizer(self.module.parameters(), **what.settings)

    class Watch(Callback):  # type: ignore[misc]
        def on_validation_epoch_end(self, trainer: Any, _: Any) -> None:
            found.append(tuple(float(trainer.callback_metrics[name]) for name in ("val_loss", "val_acc")))  # type: ignore[arg-type]

        def on_train_epoch_end(self, *_: Any) -> None:
            ends.append(time.perf_counter())

    torch.set_num_threads(1)
    trainer = lightning.Trainer(
        max_epochs=what.epochs,
        accelerator="cpu",
        devices=1,
        logger=CSVLogger("."),
        callbacks=[ModelCheckpoint(dirpath="lightning", monitor="val_loss"), Watch()],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    started = time.perf_counter()
    trainer.fit(Module(), *what.loaders())
    seconds = time.perf_counter() - started
    losses, accuracies = zip(*found, strict=True)
    return {"fit": seconds, "epoch": an_epoch(ends), "val_loss": min(losses), "val_acc": max(accuracies)}
