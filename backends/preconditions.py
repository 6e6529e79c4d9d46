"""What an expectation comes to when the world is known: the rule for sinks without a server.

Pure. A sink whose server has preconditions of its own lets the server decide.
"""

from __future__ import annotations

from typing import assert_never

from backends.contract import Absent, Expectation, ObservedSecret, Owner, TakeOver, Unchanged
from backends.errors import ForeignSecret, PreconditionFailed


def require_writable(current: ObservedSecret | None, address: str, expect: Expectation) -> None:
    """Raise `PreconditionFailed` or `ForeignSecret` unless `expect` allows writing over `current`."""
    match expect:
        case Absent():
            if current is not None:
                _refuse_foreign(current)
                raise PreconditionFailed(f"{address}: something is there already")
        case Unchanged(version):
            if current is None:
                raise PreconditionFailed(f"{address}: it is gone")
            _refuse_foreign(current)
            _require_same(current, version.token)
        case TakeOver(version):
            if current is None:
                raise PreconditionFailed(f"{address}: it is gone")
            _require_same(current, version.token)
        case _:
            assert_never(expect)


def require_removable(current: ObservedSecret, observed: ObservedSecret) -> None:
    """Raise unless `current` is ours, and exactly what was observed."""
    _refuse_foreign(current)
    _require_same(current, observed.version.token)


def owner_of(observed: ObservedSecret) -> Owner:
    """In whose name this may be removed: its own. Raises `ForeignSecret` for what is not ours."""
    _refuse_foreign(observed)
    if observed.mark is None:
        raise ForeignSecret(f"{observed.address}: no mark")
    return Owner(instance=observed.mark.instance, source=observed.mark.source)


def _refuse_foreign(current: ObservedSecret) -> None:
    if current.foreign is not None:
        raise ForeignSecret(f"{current.address}: {current.foreign}")


def _require_same(current: ObservedSecret, token: str) -> None:
    if current.version.token != token:
        raise PreconditionFailed(f"{current.address}: it changed since it was observed")
