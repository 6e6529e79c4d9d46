"""`python -m syncer`: the same as the command `syncer`."""

from __future__ import annotations

import sys

from syncer.cli import main

if __name__ == "__main__":
    sys.exit(main())
