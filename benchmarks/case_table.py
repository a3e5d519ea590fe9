"""CASES: what is measured against what, and what is good enough. One entry a case; the scripts are in `cases/`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """A case of the suite.

    Attributes:
        name: what `--case` takes.
        script: in `cases/`; its side `prepare` fills a folder, of which every other side gets a copy.
        what: what is measured, in words.
        measure: `wall`, `cpu` or `rss` of the whole process, or the name of a number that a side tells.
        bar: the largest ratio ours / floor, or without a floor the largest value.
        unit: of the value; `s`, `ms`, `MB` or none.
        ours: the side that is judged.
        floor: the side that it is held against; None: the value itself is judged.
        agree: results that both sides must have in common, and how far they may be apart.
        at_least: results that our side must reach on the real MovieLens data.
        near: results that further sides must have in common with ours, and how far they may be apart: they draw other numbers.
        others: further sides of our own environment, shown beside.
        peers: sides that the other frameworks' environment runs.
        runs_of: the case of the same sides whose runs it looks at, where that is run, too.
        times: as many rounds as others: of a case of seconds, where a moment in which the machine is slow weighs most, and of one
            whose bar is nearer than five rounds can tell.
        most_rounds: of a case that is held against itself and takes minutes.
    """

    name: str
    script: str
    what: str
    bar: float
    measure: str = "seconds"
    unit: str = "s"
    ours: str = "ours"
    floor: str | None = "hand"
    agree: Mapping[str, float] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)
    near: Mapping[str, float] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    times: int = 1
    most_rounds: int | None = None
    runs_of: str | None = None

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides that both environments run, without `prepare`."""
        return (*((self.floor,) if self.floor else ()), self.ours, *self.others, *self.peers)


RANKING = {f"{name}_at_10": 1e-6 for name in ("precision", "recall", "ndcg", "map")}
IMAGES = {"val_acc": 1e-6, "val_loss": 1e-4}
CASES: tuple[Case, ...] = (
    Case(
        "tiny_mlp", "tiny_mlp.py", "tiny MLP on digits features, batch 32, 20 epochs: fit", 1.15,
        agree={"val_loss": 1e-6}, near={"val_loss": 0.05}, peers=("skorch", "lightning"),
        times=3,
    ),
    Case(
        "resnet18", "images.py", "resnet18, digits images 32x32: an epoch", 1.00,
        agree=IMAGES, near={"val_acc": 0.05}, peers=("skorch", "lightning"),
        times=2,
    ),
    Case(
        "small_cnn", "images.py", "small CNN, the same images: an epoch", 0.35,
        ours="ours_small", floor="hand_small", agree=IMAGES, near={"val_acc": 0.1}, peers=("skorch_small", "lightning_small"),
        times=3,
    ),
    Case(
        "fm", "fm.py", "FM, 100,000 ratings, batch 2048: an epoch", 1.15,
        agree={"val_auc": 1e-4}, at_least={"val_auc": 0.775}, near={"val_auc": 0.02}, peers=("deepctr", "recbole"),
        times=3,
    ),
    Case(
        "two_tower", "two_tower.py", "two-tower, in-batch softmax, batch 256: an epoch", 1.15,
        agree={"recall_at_10": 1e-3}, at_least={"recall_at_10": 0.22},
        times=3,
    ),
    Case(
        "top_k", "top_k.py", "top-10 ranking metrics of all users", 1.5,
        agree=RANKING, near={"ndcg_at_10": 1e-6, "map_at_10": 1e-6}, others=("implicit",),
        times=3,
    ),
    Case(
        "als_search", "als.py", "20-trial ALS search, the same best trial: whole process", 1.10, "wall",
        agree={"best_trial": 0, "best_value": 1e-6, "trials": 0},
    ),
    Case(
        "trial_overhead", "als.py", "the same: a trial outside fit and evaluation", 2.0, "overhead", runs_of="als_search",
        agree={"best_trial": 0, "best_value": 1e-6, "trials": 0},
    ),
    Case(
        "mlp_search", "mlp_search.py", "30-trial MLP search, MedianPruner: the search", 0.75,
        agree={"best_value": 1e-5, "pruned": 0, "trials": 0},
    ),
    Case(
        "als_two_workers", "als.py", "the ALS search, two workers against one process", 0.60, "wall",
        ours="ours_two", floor="ours", agree={"trials": 0},
        times=2,
    ),
    Case(
        "mlp_two_workers", "mlp_search.py", "the MLP search, two workers against one process", 0.60, "whole",
        ours="ours_two", floor="ours", agree={"trials": 0},
        times=2,
    ),
    Case(
        "train_table", "train_table.py", "ml-train on a table, one epoch: whole process", 1.15, "wall",
        agree={"val_loss": 1e-5},
    ),
    Case(
        "als_run", "als.py", "an ALS run, no torch: whole process", 1.25, "wall",
        ours="ours_run", floor="hand_run", agree={"ndcg_at_10": 1e-6},
        times=3,
    ),
    Case("help", "help_commands.py", "--help, the slowest command: processor time", 0.3, floor=None),
    Case(
        "resnet18_memory", "images.py", "resnet18, digits images: peak memory", 1.25, "rss", "MB", runs_of="resnet18",
        agree=IMAGES,
    ),
    Case(
        "growth", "growth.py", "a study of 2,000 trials: storage time at the end / at the start", 1.5, "growth", "",
        floor=None, most_rounds=2,
    ),
)  # fmt: skip
