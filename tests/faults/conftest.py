"""Makes tests/support importable."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from support.postgres import postgres

__all__ = ["postgres"]
