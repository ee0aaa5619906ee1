"""The service is started, and sent radiographs, as its own tests do it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "service"))
