"""What the tests of the Azure Key Vault sink share: the stand-in, options for it, and time that does not pass."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from azure.keyvault.secrets._shared import http_challenge_cache

from backends.azure_keyvault.marks import mark_tags
from backends.azure_keyvault.options import AzureKeyVaultOptions
from backends.azure_keyvault.sink import AzureKeyVaultSink
from backends.azure_keyvault.writing import Waiting
from backends.clients.azure import LIMITS, KeyVaultClient
from backends.clients.azure_options import AzureOptions
from backends.clients.rate import Kind, Pacer, Turn
from backends.clients.surroundings import Surroundings
from backends.contract import PER_OUTPUT_KEY, DesiredSecret, Mark, Owner
from backends.errors import SinkError
from backends.secret_value import SecretValue
from backends.testing import CANARY
from tests.servers.keyvault import Clock, KeyVaultServer, Vault
from tests.servers.keyvault.tokens import Identity

NOON = 1_772_366_400.0
OWNER = Owner(instance="test", source="source")
NAME = "shop-orders-dsn"
THEIRS = {"team": "theirs"}


def forget_challenges() -> None:
    """The SDK keeps, for the whole process, which tenant answered at an address; here ports come back."""
    http_challenge_cache.clear()


def options_for(
    server: KeyVaultServer, vault: Vault, *, identity: Identity | None = None, **changes: object
) -> AzureKeyVaultOptions:
    """The options of somebody who logs in with a client secret."""
    forget_challenges()
    who = identity or server.identity
    auth = {"method": "client-secret", "tenantId": server.tenant, "clientId": who.client_id}
    settings = {
        "vaultUrl": vault.url,
        "auth": auth | {"clientSecret": {"env": "SECRET"}},
        "authority": server.authority,
        "caFile": str(server.ca_file),
        "verifyChallengeResource": False,
        **changes,
    }
    surroundings = Surroundings(folder=Path.cwd(), environ={"SECRET": who.client_secret})
    return AzureKeyVaultOptions.model_validate(settings, context=surroundings)


class Naps:
    """Sleeps that take no time: they move a vault's clock on."""

    def __init__(self, clock: Clock, after: Callable[[int], object] = lambda _: None) -> None:
        self._clock = clock
        self._after = after
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.taken.append(seconds)
        self._clock.advance(seconds)
        self._after(len(self.taken))


class NappingPacer(Pacer):
    """Waits by naps, and lets the requests that are under way end before time moves on."""

    def __init__(self, clock: Clock, naps: Naps, patience: float) -> None:
        super().__init__(LIMITS, clock=clock, sleep=self._nap, patience=patience)
        self._naps = naps
        self._under_way = 0

    @asynccontextmanager
    async def turn(self, kind: Kind) -> AsyncIterator[Turn]:
        async with super().turn(kind) as turn:
            self._under_way += 1
            try:
                yield turn
            finally:
                self._under_way -= 1

    async def _nap(self, seconds: float) -> None:
        while self._under_way:  # noqa: ASYNC110  # nothing tells a test
            await asyncio.sleep(0.001)
        await self._naps(seconds)


def sink_for(
    options: AzureKeyVaultOptions, vault: Vault, *, naps: Naps | None = None, patience: float = 1e6
) -> AzureKeyVaultSink:
    """A sink that goes by the vault's clock."""
    naps = naps or Naps(vault.clock)
    pacer = NappingPacer(vault.clock, naps, patience)
    return AzureKeyVaultSink(options, page_size=3, pacer=pacer, waiting=Waiting(sleep=naps))


@pytest.fixture
def vault(keyvault_server):
    vault = keyvault_server.new_vault(clock=Clock(NOON))
    yield vault
    vault.close()


@pytest.fixture
async def sink(keyvault_server, vault) -> AsyncIterator[AzureKeyVaultSink]:
    async with sink_for(options_for(keyvault_server, vault), vault) as opened:
        yield opened


@contextmanager
def refused(kind: type[SinkError]) -> Iterator[pytest.ExceptionInfo[SinkError]]:
    """Just this error is raised, and shows no value anywhere."""
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.type is kind
    assert caught.value.__cause__ is None
    assert CANARY.decode() not in "".join(traceback.format_exception(caught.value))


def marked(name: str = NAME, **changes: str) -> Mark:
    fields = {
        "instance": OWNER.instance,
        "source": OWNER.source,
        "rule": "default",
        "target": "0",
        "address": name,
        "namespace": "shop",
        "installation": "orders",
        "installation_id": "01INSTALLATION",
        "run_id": "01RUN",
        "result_id": "01RESULT",
        "revision": "revision",
        "content_id": "content",
        "output": "dsn",
    }
    return Mark(**(fields | changes))


def desired(name: str = NAME, content: bytes = CANARY, **attributes: str) -> DesiredSecret:
    return DesiredSecret(
        mark=marked(name), data={PER_OUTPUT_KEY: SecretValue(content)}, attributes=attributes
    )


async def look(sink: AzureKeyVaultSink, name: str = NAME):
    return (await sink.observe(OWNER, [name])).get(name)


def plant_ours(vault, content: str = "ours", name: str = NAME) -> None:
    vault.put(name, content, tags=mark_tags(marked(name)), content_type="text/plain")


# --- logging in


@pytest.fixture
def planted(keyvault_server):
    vault = keyvault_server.new_vault()
    vault.put(NAME, "value")
    yield vault
    vault.close()
    keyvault_server.token_service.faults.clear()
    keyvault_server.managed_service.faults.clear()
    keyvault_server.assign(None, system=True)


@pytest.fixture
def environment(monkeypatch):
    """An environment without what the machine itself may have of Azure."""
    for name in (
        "AZURE_CLIENT_ID",
        "AZURE_TENANT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_AUTHORITY_HOST",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "MSI_ENDPOINT",
    ):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def options_of(server, vault, auth: dict, *, secret: str = "", **changes: object) -> AzureOptions:
    forget_challenges()
    settings = {
        "vaultUrl": vault.url,
        "auth": auth,
        "authority": server.authority,
        "caFile": str(server.ca_file),
        "verifyChallengeResource": False,
        "requestTimeout": "5s",
        **changes,
    }
    surroundings = Surroundings(folder=Path.cwd(), environ={"SECRET": secret})
    return AzureOptions.model_validate(settings, context=surroundings)


def by_secret(server, identity=None, secret: str | None = None) -> tuple[dict, str]:
    who = identity or server.identity
    auth = {"method": "client-secret", "tenantId": server.tenant, "clientId": who.client_id}
    return auth | {"clientSecret": {"env": "SECRET"}}, who.client_secret if secret is None else secret


async def read(options: AzureOptions) -> str:
    async with KeyVaultClient(options) as client:
        secret = await client.get(NAME)
    assert secret is not None
    return secret.value.reveal().decode()


async def failing(options: AzureOptions, kind: type[SinkError], *hidden: str) -> SinkError:
    with pytest.raises(kind) as caught:
        await read(options)
    assert caught.type is kind
    assert caught.value.__cause__ is None
    shown = "".join(traceback.format_exception(caught.value))
    assert "AADSTS" not in shown
    assert not any(text in shown for text in hidden)
    return caught.value
