"""What the tests of the Vault sink share: the shipped policy, and options with a token that has it."""

from __future__ import annotations

from pathlib import Path

from backends.clients.surroundings import Surroundings
from backends.vault.options import VaultSinkOptions
from tests.servers.openbao import BaoServer

THEIRS = {"team": "theirs"}
"""Custom metadata of somebody else."""

_EXAMPLES = Path(__file__).parents[2] / "examples" / "vault"


def shipped_policy(mount: str, path: str, *, version: int = 2) -> str:
    """The policy of the examples, for another mount and path."""
    text = (_EXAMPLES / ("policy.hcl" if version == 2 else "policy-kv1.hcl")).read_text()
    return text.replace('path "secret/', f'path "{mount}/').replace("/porter/*", f"/{path}/*")


def options_for(
    bao: BaoServer, mount: str, path: str, *, version: int = 2, **changes: object
) -> VaultSinkOptions:
    """A sink with a token of its own that has just that policy."""
    return options_with(bao, bao.token(shipped_policy(mount, path, version=version)), mount, path, **changes)


def options_with(bao: BaoServer, token: str, mount: str, path: str, **changes: object) -> VaultSinkOptions:
    settings = {
        "address": bao.url,
        "caFile": str(bao.ca_file),
        "mount": mount,
        "paths": [path],
        "auth": {"method": "token", "token": {"env": "TOKEN"}},
        **changes,
    }
    surroundings = Surroundings(folder=Path.cwd(), environ={"TOKEN": token})
    return VaultSinkOptions.model_validate(settings, context=surroundings)
