"""The JSON Schema of the config: the file in the repository is that of the code, and it describes every setting."""

import json
from pathlib import Path

from mlframework.cli.schema_file import main, write_schema
from mlframework.experiment import ExperimentConfig

ROOT = Path(__file__).parents[2]


def test_the_repository_s_schema_is_current(tmp_path: Path) -> None:
    fresh = write_schema(tmp_path).read_text(encoding="utf-8")
    kept = (ROOT / "configs" / "schema.json").read_text(encoding="utf-8")
    assert kept == fresh, "configs/schema.json is not that of the code any more; renew it: make schema"


def test_it_says_what_each_setting_is(tmp_path: Path) -> None:
    schema = json.loads(write_schema(tmp_path).read_text(encoding="utf-8"))
    assert set(ExperimentConfig.model_fields) < set(schema["properties"])
    assert schema["additionalProperties"] is False  # an editor marks a misspelt key
    undescribed = [
        f"{name}.{key}"
        for name, section in schema["$defs"].items()
        for key, setting in section["properties"].items()
        if key != "type" and "description" not in setting and "$ref" not in setting  # a section describes itself
    ]
    assert undescribed == []


def test_it_is_written_where_the_command_says(tmp_path: Path) -> None:
    main([str(tmp_path / "new")])
    assert (tmp_path / "new" / "schema.json").is_file()
