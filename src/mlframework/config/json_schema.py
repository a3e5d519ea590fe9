"""The JSON Schema of the config, by which editors complete and check YAML."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from mlframework.config.base import Config
from mlframework.config.docstrings import docstrings

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "mlframework config"


def json_schema(root: type[Config]) -> dict[str, Any]:
    """Return the JSON Schema of a config: what `root` decodes, with the docstrings as descriptions."""
    schema = root.model_json_schema(schema_generator=_WithDocstrings)
    return {"$schema": DRAFT, "title": TITLE, **{key: value for key, value in schema.items() if key != "title"}}


class _WithDocstrings(GenerateJsonSchema):
    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        cls: type[Config] = schema["cls"]
        for name, said in docstrings(cls).items():
            if name in made.get("properties", {}):
                made["properties"][name].setdefault("description", said)
        return made
