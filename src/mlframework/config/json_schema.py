"""The JSON Schema of the config, by which editors complete and check YAML."""

from typing import Any

from mlframework.config.base import Config

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "mlframework config"


def json_schema(root: type[Config]) -> dict[str, Any]:
    """Return the JSON Schema of a config: what `root` decodes, with the docstrings as descriptions."""
    schema = root.model_json_schema()
    return {"$schema": DRAFT, "title": TITLE, **{key: value for key, value in schema.items() if key != "title"}}
