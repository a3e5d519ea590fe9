"""What an artifact says of itself, and what a recommender's run shows."""

from mlframework.config import yaml
from mlframework.learners.base import RankingReport
from mlframework.runs import FORMAT, RunDir, read_json, write_json


def describe_artifact(run: RunDir) -> None:
    """Write into an artifact's `model_meta.json` where it comes from: the run's config, metrics and versions."""
    path = run.artifacts / "model_meta.json"
    result = run.read_result() or {}
    # Who trains from Python may have written neither of the two files.
    environment = read_json(run.environment) if run.environment.is_file() else {"packages": {}}
    origin = {
        "config": yaml.read(run.config).tree if run.config.is_file() else {},
        "metrics": {**result.get("best_metrics", {}), **result.get("test_metrics", {})},
        "versions": {name: environment[name] for name in ("python",) if name in environment} | environment["packages"],
    }
    write_json(path, {**read_json(path), **origin})


def write_ranking(run: RunDir, split: str, report: RankingReport | None) -> None:
    """Write `ranking_<split>.json`, what a recommender recommends to the users of a split; nothing for other models."""
    if report is not None:
        write_json(run.path / f"ranking_{split}.json", {"format": FORMAT, "split": split, **report.to_dict()})
