"""What the tests of the documentation share."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[2] / "scripts"))  # of which the generators of pages are tested
