"""What can be found out about a vault without writing to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

from backends.azure_keyvault.options import AzureKeyVaultOptions
from backends.clients.azure import KeyVaultClient
from backends.clients.azure_errors import SecretDisabled
from backends.contract import Finding, FindingLevel
from backends.errors import Forbidden

_NOBODY: Final = "porter-outputs-syncer-check"
"""A name that need not exist: whoever may read is told that it does not."""


async def findings(client: KeyVaultClient, options: AzureKeyVaultOptions) -> tuple[Finding, ...]:
    """List and get, tried by reading; of the other rights, that they are not."""
    subject = options.vault_url
    reads = (lambda: _list_one(client), lambda: client.get(_NOBODY), lambda: client.get_deleted(_NOBODY))
    reasons = [await _refused(read) for read in reads]
    missing = [reason for reason in reasons if reason is not None]
    rest = "set, delete and recover" + (" and purge" if options.purge else "")
    untried = Finding(
        level=FindingLevel.OK, subject=subject, detail=f"not tried, since it takes writing: {rest}"
    )
    if missing:
        detail = "; ".join(dict.fromkeys(missing))
        return Finding(level=FindingLevel.ERROR, subject=subject, detail=detail), untried
    return Finding(level=FindingLevel.OK, subject=subject, detail="may list and get secrets"), untried


async def _list_one(client: KeyVaultClient) -> None:
    async with aclosing(client.list_secrets(1)) as pages:
        await anext(pages, None)


async def _refused(call: Callable[[], Awaitable[object]]) -> str | None:
    try:
        await call()
    except SecretDisabled:
        return None
    except Forbidden as error:
        return error.reason
    return None
