"""configs/schema.json, which editors check configs by: `python -m mlframework.cli.schema_file configs` renews it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

SCHEMA = "schema.json"


def write_schema(folder: Path) -> Path:
    """Write the JSON Schema of the whole config, search included, into a folder; returns the file.

    Raises:
        RunError: it cannot be written.
    """
    from mlframework.config.json_schema import json_schema
    from mlframework.runs import write_json
    from mlframework.search.config import ConfigFile

    path = folder / SCHEMA
    write_json(path, json_schema(ConfigFile))
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the schema into the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m mlframework.cli.schema_file", description=write_schema.__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("configs"), help="where it goes")
    sys.stdout.write(f"wrote {write_schema(parser.parse_args(arguments).folder)}\n")


if __name__ == "__main__":
    main()
