"""A run's model as MLflow loads and serves it: this file is copied into every model that is registered.

Nothing is pickled: MLflow runs this file, and `mlframework.load` reads the run's artifact.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

import mlframework

if TYPE_CHECKING:
    import pandas as pd


class ServedModel(PythonModel):  # type: ignore[misc, unused-ignore]
    """Answers as `mlframework.load(run)` does, in data frames."""

    def load_context(self, context: Any) -> None:
        """Load the run that lies in the model's folder."""
        from mlframework.runs import read_json

        run = Path(context.artifacts["run"])
        self._meta = read_json(run / "artifacts" / "model_meta.json")
        self._predictor: Any = mlframework.load(run)

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a row a prediction: `prediction`, and of classes the probability of each.

        Args:
            context: is not needed.
            model_input: rows of a table; or `image`, each the bytes of an image file; or a recommender's users.
            params: of a recommender: `k`, how many items.
        """
        family = self._meta["family"]
        if family == "recommender":
            return self._recommended(model_input, int((params or {}).get("k", 10)))
        if family == "image_classifier":
            return self._classified(model_input["image"])
        return _frame(self._predictor.predict(model_input))

    def _classified(self, images: Any) -> pd.DataFrame:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / str(number) for number in range(len(images))]
            for path, image in zip(paths, images, strict=True):
                path.write_bytes(image)
            return _frame(self._predictor.predict(paths))

    def _recommended(self, wanted: Any, k: int) -> pd.DataFrame:
        """Return a row a recommendation; where items are named as well, the score of each user's item."""
        import pandas as pd

        user, item = self._meta["user_column"], self._meta["item_column"]
        if item in wanted.columns and wanted[item].notna().all():
            return _frame(self._predictor.predict(wanted))
        users = wanted[user].tolist()
        rows = [
            (each, rank, found.item, found.score)
            for each, listed in zip(users, self._predictor.recommend(users, k), strict=True)
            for rank, found in enumerate(listed, 1)
        ]
        return pd.DataFrame(rows, columns=[user, "rank", item, "score"])


def _frame(predictions: Any) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {"prediction": each.value, **{f"probability_{name}": p for name, p in each.probabilities.items()}}
            for each in predictions
        ]
    )


set_model(ServedModel())
