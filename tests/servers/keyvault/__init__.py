"""A stand-in for Azure Key Vault (its secrets) and for Microsoft Entra's token endpoint. Not a Key Vault.

There is no emulator of the service to be had, so this is written from the public documentation on
learn.microsoft.com, and for what that leaves open from recorded answers and reports of the real service. Each
module names its pages, and what it assumes where they are silent. The Azure SDK is its client; what a test
shows with it holds for the documented service, not for the real one's load, latency or unwritten habits.

Covered: set, get, update, list, versions, delete, recover and purge of secrets with paging, soft delete and its
transitions (`vault`, `requests`, `wire`); the 401 challenge and permissions (`service`); the published limits
(`throttle`); tokens by client secret, certificate, federated credential and managed identity (`tokens`,
`entra`). Faults (`faults`), a log (`journal`) and direct access to what is stored (`handle`) are for tests.

Left out: keys, certificates, managed secrets, backup and restore, firewalls, private links, replicas and how
long they lag behind, the limits of a whole subscription, POST in place of other methods, continuous access
evaluation, users, other clouds. Everything is in memory and ends with the process.
"""

from __future__ import annotations

from tests.servers.keyvault.clock import Clock
from tests.servers.keyvault.handle import Vault
from tests.servers.keyvault.server import KeyVaultServer

__all__ = ["Clock", "KeyVaultServer", "Vault"]
