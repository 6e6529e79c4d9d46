"""What tests of the image read of the project: where it is, and what its runtime is locked to."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "requirements/runtime.txt"


def locked() -> dict[str, str]:
    """The version of every package that the product needs at run time, by canonical name."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", RUNTIME.read_text(), re.MULTILINE))
