"""`syncer api`: the gRPC API alone."""

from __future__ import annotations

from syncer.cli.options import Common
from syncer.cli.run import go_on


def api(*, common: Common = Common()) -> int:
    """Serve the gRPC API until told to end."""
    from syncer.serving import Serving  # noqa: PLC0415  # gRPC is large

    return go_on(Serving(), common)
