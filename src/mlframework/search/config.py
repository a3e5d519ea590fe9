"""The `search:` section, and the whole config file: a training run with an optional search."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mlframework import metrics
from mlframework.config.base import Config
from mlframework.experiment import ExperimentConfig
from mlframework.folds import CrossValidation
from mlframework.metrics import Direction
from mlframework.search.confirm import Confirm
from mlframework.search.duplicates import OnDuplicate
from mlframework.search.goal import KNEE, Goal
from mlframework.search.keep import Keep
from mlframework.search.objectives import ObjectiveConfig, check_objectives, main_metric
from mlframework.search.parameters import Parameter, Scalar
from mlframework.search.pruners import MedianPruner, PrunerConfig
from mlframework.search.resources import Resources
from mlframework.search.samplers import ALGORITHMS, SamplerConfig, TPESampler
from mlframework.search.warm_start import History


class SearchConfig(Config):
    """What is searched, how, and with what budget."""

    study_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=200)] | None = None
    """Name of the study and of its folder: letters, digits and `_`, behind the first also `.` and `-`; null: the config's
    name and `_optimization`."""
    storage: str = "sqlite:///optuna_studies.db"
    """Where trials are kept: `sqlite:///file.db`, `journal:///file.log`, or `postgresql://user:${DB_PASSWORD}@host/db`."""
    n_trials: Annotated[int, Field(gt=0)] = 50
    """Trials of the study in all, whoever runs them."""
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which no further trial is started; null: no limit."""
    metric: metrics.MetricName | None = None
    """What is searched for; null: the config's `metric`."""
    direction: Literal["maximize", "minimize"] | None = None
    """Has to agree with the metric, which knows it; may be left out."""
    objectives: Annotated[list[ObjectiveConfig], Field(min_length=2)] | None = None
    """Two or more things that are searched for at once, in place of `metric`."""
    prefer: str = KNEE
    """With objectives: which trial of the Pareto front becomes best_config.yaml: `knee`, the one nearest to the ideal, or
    the best in one of the objectives, by its name."""
    prune_by: str | None = None
    """With objectives: the one that trials report, choose their best epoch by, and are pruned by; null: no pruning, and the
    first that has epochs."""
    algorithm: Literal["bayesian", "optuna", "hyperopt"] | None = None
    """Short name of a sampler with its defaults, in place of `sampler`: GPSampler, TPESampler or HyperoptSampler."""
    sampler: SamplerConfig = TPESampler()
    """What suggests hyperparameters."""
    pruner: PrunerConfig = MedianPruner()
    """What stops trials that promise nothing."""
    search_space: Annotated[dict[str, Parameter], Field(min_length=1)]
    """Dotted key of a setting, and the values to search."""
    constraints: list[str] = []
    """What every trial has to keep, as expressions over settings: `training.batch_size * data.image_size <= 4096`."""
    on_duplicate: OnDuplicate = "resample"
    """What becomes of a draw that a former trial has trained: `resample` draws again, `reuse` takes the former trial's
    value, `replicate` trains it with another seed."""
    warm_start: list[History] = []
    """Trials of other searches that the sampler learns from: csv files, or studies. They are none of this study's."""
    enqueue: list[Annotated[dict[str, Scalar], Field(min_length=1)]] = []
    """Settings that are tried first, by dotted key or its last part; what one leaves out is drawn."""
    cross_validation: CrossValidation = CrossValidation()
    """Whether each trial is trained on several folds."""
    repeats: Annotated[int, Field(ge=1)] = 1
    """With how many seeds each trial is trained; its value is their mean. Not with cross_validation, which has repeats of
    its own."""
    confirm: Confirm | None = None
    """Whether the best trials are trained again with further seeds when the search is done, and the pick made by that."""
    keep: Keep = Keep()
    """Whose checkpoints are kept, and how much disk those may take."""
    resources: Resources | None = None
    """What each worker has for itself; null: this machine's threads are shared out, and with `--launcher ray` one CPU each."""
    lease_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Seconds without a sign of life after which a process on another machine is taken for dead, and its trial taken over."""
    retries: Annotated[int, Field(ge=0)] = 2
    """How often a trial is tried again, from its last checkpoint, after errors that nobody expected; the same error twice, and
    what the settings explain, fails it at once. So many deaths of its process in a row at one epoch are forgiven, too."""
    max_consecutive_failures: Annotated[int, Field(ge=1)] | None = 5
    """Trials that failed one after the other, whoever ran them, after which the search ends; null: it never does."""

    storage_patience: Annotated[float, Field(ge=0)] = 300.0
    """Seconds for which a database that does not answer is waited for, once the search has begun."""

    @model_validator(mode="before")
    @classmethod
    def _algorithm_is_a_sampler(cls, section: Any) -> Any:
        """Put the sampler where its short name stood, so that a config that is written out has one of the two."""
        name = section.get("algorithm") if isinstance(section, dict) else None
        if not isinstance(name, str) or name not in ALGORITHMS or "sampler" in section:
            return section
        rest = {key: value for key, value in section.items() if key != "algorithm"}
        return {**rest, "sampler": {"type": ALGORITHMS[name]}}

    @model_validator(mode="before")
    @classmethod
    def _several_are_not_pruned_unasked(cls, section: Any) -> Any:
        """Write out that nothing is pruned: with several objectives somebody has to say by which."""
        if not isinstance(section, dict) or not section.get("objectives") or section.get("prune_by") is not None:
            return section
        return {"pruner": {"type": "none"}, **section}

    @model_validator(mode="after")
    def _objectives_fit(self) -> "SearchConfig":
        problem = check_objectives(
            self.objectives,
            self.prefer,
            self.prune_by,
            metric=self.metric,
            direction=self.direction,
            pruner=self.pruner,
        )
        if problem is None and self.objectives is not None:
            alone = {
                "warm_start": "has one value a trial, and objectives: lists several; give good settings to enqueue: instead",
                "confirm": "picks a trial by one metric, and objectives: lists several; say by prefer: which one is chosen",
            }
            problem = next((f"{key}: {what}" for key, what in alone.items() if getattr(self, key)), None)
        if problem is not None:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _one_sampler(self) -> "SearchConfig":
        if self.algorithm is not None:
            raise ValueError(
                f"algorithm: {self.algorithm} means {ALGORITHMS[self.algorithm]} with its defaults, and sampler: names "
                f"{self.sampler.type}; leave out algorithm: to keep the latter, or sampler: to keep the former"
            )
        return self

    @model_validator(mode="after")
    def _repeats_once(self) -> "SearchConfig":
        if self.repeats > 1 and self.cross_validation.enabled:
            raise ValueError(
                f"repeats: {self.repeats} is for trials with one split; with folds set cross_validation.repeats"
            )
        return self

    @model_validator(mode="after")
    def _direction_agrees(self) -> "SearchConfig":
        if self.metric is not None:
            known = metrics.direction_of(self.metric)
            if self.direction not in (None, known):
                raise ValueError(
                    f"direction: {self.direction} contradicts metric: {self.metric}, which one has to {known}"
                )
        return self


class ConfigFile(ExperimentConfig):
    """A config file: a training run, and the search of its hyperparameters."""

    search: SearchConfig | None = None
    """How hyperparameters are searched; needed by ml-search alone."""

    @model_validator(mode="after")
    def _search_fits(self) -> "ConfigFile":
        if self.search is None:
            return self
        known = metrics.direction_of(self.search_metric)
        if self.search.direction not in (None, known):
            raise ValueError(
                f"search.direction: {self.search.direction} contradicts metric: {self.metric}, which one has to {known}"
            )
        if self.search_metric.startswith("test_"):
            raise ValueError(f"search.metric: {self.search_metric} would search on the test split; use a val_ metric")
        return self

    @property
    def search_metric(self) -> str:
        """The metric in force in a search: what trials report and choose their best epoch by."""
        if self.search is None:
            return self.metric
        if self.search.objectives is not None:
            return self.search.prune_by or main_metric([each.metric for each in self.search.objectives]) or self.metric
        return self.search.metric or self.metric

    @property
    def search_direction(self) -> Direction:
        """Which direction of it is better."""
        return metrics.direction_of(self.search_metric)

    @property
    def goal(self) -> Goal:
        """All that is searched for."""
        if self.search is None or self.search.objectives is None:
            return Goal.single(self.search_metric, self.search_direction)
        objectives = tuple(each.objective for each in self.search.objectives)
        folds = self.search.cross_validation
        aggregation = folds.aggregation if folds.enabled else "mean"
        return Goal(objectives, self.search_metric, self.search.prefer, aggregation)

    @property
    def study_name(self) -> str:
        """Name of the study."""
        return (self.search.study_name if self.search is not None else None) or f"{self.name}_optimization"
