"""Searching hyperparameters: a trial is a config, trained by the one trainer.

The package can be called: `mlframework.search("configs/digits.yaml")` is `mlframework.search.start.search_config`.
docs/decisions/0034 says why.
"""

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, config: Any, **options: Any) -> Any:
        """Search the hyperparameters that a config names; see `mlframework.search.start.search_config`."""
        from mlframework.search.start import search_config

        return search_config(config, **options)


sys.modules[__name__].__class__ = _CallablePackage
