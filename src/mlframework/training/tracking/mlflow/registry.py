"""Putting a run's model into MLflow's Model Registry."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlframework.config import yaml
from mlframework.errors import RunError
from mlframework.runs import RunDir, read_json, write_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

ALIAS = "champion"
_IN_RUN = "model"
_PACKAGES = {"recommender": ("mlframework", "numpy", "scipy", "pandas"), "image_classifier": (
    "mlframework", "torch", "torchvision", "pillow", "pandas")}  # fmt: skip
_OF_TABLES = ("mlframework", "torch", "polars", "pandas")


def register(client: MlflowClient, run_id: str, folder: Path, name: str) -> str | None:
    """Register the model of a run's folder as the newest version of a name; the alias `champion` moves to it.

    It may be called again after it was cut short: a run has one version.

    Returns:
        The version; None where the run has no model.
    """
    from mlflow.exceptions import MlflowException

    run = RunDir(folder)
    if not (run.artifacts / "model_meta.json").is_file():
        return None
    versions = [each for each in client.search_model_versions(f"run_id='{run_id}'") if each.name == name]
    if not versions:
        with tempfile.TemporaryDirectory() as temporary:
            _save(run, Path(temporary))
            client.log_artifacts(run_id, str(Path(temporary) / _IN_RUN), _IN_RUN)
        with suppress(MlflowException):  # it exists
            client.create_registered_model(name)
        versions = [client.create_model_version(name, f"runs:/{run_id}/{_IN_RUN}", run_id)]
    client.set_registered_model_alias(name, ALIAS, versions[0].version)
    return str(versions[0].version)


def _save(run: RunDir, folder: Path) -> None:
    """Write a run's model as MLflow has them: code, artifact, signature, an example, what it needs."""
    import mlflow.pyfunc

    kept = folder / "run"
    shutil.copytree(run.artifacts, kept / "artifacts")
    # Where it was recorded is nothing to the model, and a variable in it need not be set where the model is served.
    tree = {key: value for key, value in yaml.read(run.config).tree.items() if key != "tracking"}
    write_text(kept / "config.yaml", yaml.dump(tree))
    meta = read_json(kept / "artifacts" / "model_meta.json")
    signature, example = describe(meta)
    # The file is MLflow's to run: nothing here imports it.
    spec = importlib.util.find_spec("mlframework.served_model")
    assert spec is not None and spec.origin is not None
    mlflow.pyfunc.save_model(
        path=folder / _IN_RUN, python_model=spec.origin, artifacts={"run": str(kept)}, signature=signature,
        input_example=example, pip_requirements=_requirements(meta["family"]),
    )  # fmt: skip


def _requirements(family: str) -> list[str]:
    """Return what the model needs. MLflow would find out by running it, which takes a while."""
    return [
        f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in _PACKAGES.get(family, _OF_TABLES)
    ]


def describe(meta: dict[str, Any]) -> tuple[ModelSignature, Any]:
    """Return what a model takes and gives, and an example that is made up: no data leaves this machine.

    Args:
        meta: content of its model_meta.json.

    Raises:
        RunError: it has no input that MLflow can describe.
    """
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    if meta["family"] == "recommender":
        users, items = meta["users"], meta["items"]
        of_user, of_item = (DataType.string if isinstance(ids[0], str) else DataType.long for ids in (users, items))
        inputs: list[Any] = [
            ColSpec(of_user, meta["user_column"]),
            ColSpec(of_item, meta["item_column"], required=False),
        ]
        outputs: list[Any] = [ColSpec(of_user, meta["user_column"]), ColSpec(DataType.long, "rank"),
                   ColSpec(of_item, meta["item_column"]), ColSpec(DataType.double, "score")]  # fmt: skip
        params = ParamSchema([ParamSpec("k", DataType.long, min(10, len(items)))])
        return ModelSignature(Schema(inputs), Schema(outputs), params), pd.DataFrame({meta["user_column"]: users[:2]})
    if meta["family"] == "image_classifier":
        example = pd.DataFrame({"image": [_grey(int(meta["image_size"]))]})
        return ModelSignature(
            Schema([ColSpec(DataType.binary, "image")]), Schema(_outputs(meta["class_names"]))
        ), example
    if "schema" not in meta:
        raise RunError(f"a model of the family {meta['family']} cannot be registered")
    schema, encoder = meta["schema"], meta["encoder"]
    columns = {name: [value] for name, value in zip(schema["numeric"], encoder["median"], strict=True)}
    columns |= {name: [next(iter(schema["vocabulary"][name]), "")] for name in schema["categorical"]}
    features: list[Any] = [ColSpec(DataType.double, name, required=False) for name in schema["numeric"]]
    features += [ColSpec(DataType.string, name, required=False) for name in schema["categorical"]]
    return ModelSignature(Schema(features), Schema(_outputs(schema["class_names"]))), pd.DataFrame(columns)


def _outputs(class_names: list[str] | None) -> list[Any]:
    from mlflow.types import ColSpec, DataType

    if class_names is None:
        return [ColSpec(DataType.double, "prediction")]
    probabilities = [ColSpec(DataType.double, f"probability_{name}") for name in class_names]
    return [ColSpec(DataType.string, "prediction"), *probabilities]


def _grey(size: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (128, 128, 128)).save(buffer, "PNG")
    return buffer.getvalue()
