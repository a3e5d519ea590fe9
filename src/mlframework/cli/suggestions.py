"""What suits the data: the choices and sizes that `ml-init-config` writes, unless the user says otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mlframework import metrics
from mlframework.data.inspect import ImageFolderFacts, TableFacts
from mlframework.data.inspect_interactions import InteractionFacts

Facts: TypeAlias = ImageFolderFacts | TableFacts | InteractionFacts

SMALL_IMAGE = 64
"""Pixels of the longer side up to which an image is small: a symbol or a thumbnail more often than a photo."""
CACHE_LIMIT = 4e9
"""Bytes of decoded images that are kept in memory without asking."""
FACTORIZATION = ("fm", "ffm")
"""Models that predict ratings, and the target of a table."""
FEW_INTERACTIONS = 1_000
"""Interactions below which little can be learnt about anybody's taste."""
_IMAGE_SIZES = ((40, 32), (64, 64), (128, 128))
_LARGEST_IMAGE_SIZE = 224
_TABLE_EPOCHS = 30
_RECOMMENDER_EPOCHS = {"als": 15, "bpr": 100, "two_tower": 15, "fm": 20, "ffm": 20}
_RECOMMENDED = 10


@dataclass(frozen=True)
class Choices:
    """What `ml-init-config` asks about; everything else follows from the data."""

    name: str
    architecture: str
    num_epochs: int
    metric: str


@dataclass(frozen=True)
class Plan:
    """What is to be written."""

    facts: Facts
    choices: Choices
    search: bool

    @property
    def study(self) -> str:
        """Name of the study, where there is a search."""
        return f"{self.choices.name}_optimization"


def suggested(facts: Facts, name: str, search: bool) -> Plan:
    """Return the plan that suits the data."""
    return Plan(facts, suggest(facts, name), search)


def suggest(facts: Facts, name: str, architecture: str | None = None) -> Choices:
    """Return the choices that suit the data, and where one is named the architecture."""
    if isinstance(facts, ImageFolderFacts):
        return Choices(name, architecture or "resnet18", _image_epochs(facts), "val_acc")
    if isinstance(facts, TableFacts):
        return Choices(name, architecture or "mlp", _TABLE_EPOCHS, _table_metric(facts))
    chosen = architecture or "als"
    metric = "val_auc" if chosen in FACTORIZATION else f"val_ndcg_at_{n_recommended(facts)}"
    return Choices(name, chosen, _RECOMMENDER_EPOCHS[chosen], metric)


def fitting_models(facts: Facts) -> list[str]:
    """Return the architectures that can learn from the data."""
    from mlframework.models import MODELS

    kind = data_type(facts)
    fitting = {name: model.consumes.get(kind, ()) for name, model in MODELS.items()}
    if isinstance(facts, InteractionFacts):
        predicts_ratings = facts.ratings is not None and facts.ratings.class_from is not None
        return [name for name, tasks in fitting.items() if "ranking" in tasks or (tasks and predicts_ratings)]
    task = facts.task if isinstance(facts, TableFacts) else "classification"
    return [name for name, tasks in fitting.items() if task in tasks]


def data_type(facts: Facts) -> str:
    """Return what the config calls this kind of data."""
    if isinstance(facts, ImageFolderFacts):
        return "image_folder"
    return "table" if isinstance(facts, TableFacts) else "interactions"


def tasks_for(facts: Facts, architecture: str) -> tuple[metrics.Task, ...]:
    """Return what the architecture can do with the data; where it is more than one task, the metric decides."""
    if isinstance(facts, ImageFolderFacts):
        return ("classification",)
    if isinstance(facts, TableFacts):
        return (facts.task,)
    return ("classification", "regression") if architecture in FACTORIZATION else ("ranking",)


def task_of(facts: Facts, choices: Choices) -> metrics.Task:
    """Return the task: of those that the architecture can do the first that the metric has a meaning in."""
    can = tasks_for(facts, choices.architecture)
    return next(task for task in can if task in metrics.tasks_of(choices.metric))


def n_recommended(facts: InteractionFacts) -> int:
    """Return the K of the metrics: ten, or fewer where there are not more items to choose from."""
    n_items = facts.liked.n_items
    return _RECOMMENDED if n_items > _RECOMMENDED else n_items // 2


def image_size(facts: ImageFolderFacts) -> int:
    """Return the size to train at: about that of the images, but no more than what most models are made for."""
    side = max(facts.width, facts.height)
    return next((size for largest, size in _IMAGE_SIZES if side <= largest), _LARGEST_IMAGE_SIZE)


def cache_bytes(facts: ImageFolderFacts) -> int:
    """Return the memory that all images take once they are decoded."""
    return int(facts.n_images * 3 * image_size(facts) ** 2)


def batch_size(facts: Facts, architecture: str) -> int:
    """Return the batch size: small where there are few examples, so that an epoch has some steps."""
    if isinstance(facts, ImageFolderFacts):
        return _by_count(facts.n_images, ((200, 16), (1_000, 32)), 64)
    if isinstance(facts, TableFacts):
        return _by_count(facts.n_rows, ((1_000, 32), (10_000, 64), (50_000, 128)), 256)
    if architecture in FACTORIZATION:
        return _by_count(facts.rated.n_interactions, ((1_000, 32), (5_000, 128), (50_000, 512)), 2048)
    return _by_count(facts.liked.n_interactions, ((1_000, 32), (5_000, 64)), 256)


def warmup_epochs(choices: Choices) -> int:
    """Return after how many epochs a trial can be judged.

    BPR's curve stays flat at first, and ALS's does where the regularization is large, which may be the best in the end.
    """
    if choices.architecture == "bpr":
        return max(2, choices.num_epochs // 5)
    return 5 if choices.architecture == "als" else 2


def hidden_sizes(facts: TableFacts) -> tuple[int, int, int]:
    """Return the widths of an mlp to search; the middle one is the one to begin with."""
    return (32, 64, 128) if facts.n_rows < 10_000 else (64, 128, 256)


def _image_epochs(facts: ImageFolderFacts) -> int:
    """Return more epochs for few images, as what counts is the number of steps, and for large folders of photos."""
    return _by_count(facts.n_images, ((500, 30), (1_500, 15), (5_001, 8)), 10)


def _table_metric(facts: TableFacts) -> str:
    if facts.task == "regression":
        return "val_rmse"
    return "val_auc" if len(facts.class_counts) == 2 else "val_acc"


def _by_count(count: int, table: Sequence[tuple[int, int]], otherwise: int) -> int:
    """Return the value beside the first bound that `count` lies below."""
    return next((value for below, value in table if count < below), otherwise)
