"""A key vault that has had enough: row 47 of the catalogue.

On the stand-in, which refuses with 429 and Retry-After as the service is documented to. Excludes the pacing
below the service's limits, which tests/contract/test_azure_trouble.py shows in virtual time.
"""

from __future__ import annotations

import itertools

import pytest

from tests.faults.other_sinks import KeyVaultPlace, beside
from tests.servers.keyvault.faults import throttled

FIRST = {"host": b"db-1.shop.internal", "password": b"correct horse"}
SECOND = {"host": b"db-2.shop.internal", "password": b"battery staple"}
NAMES = [f"orders-{number}x" for number in range(4)]
SOON = 5.0
"""Seconds within which the sinks without a fault have what is new."""
PAUSE = 2
"""Seconds that the vault asks to be left alone for."""
UNDER_WAY = 0.75
"""Seconds within which requests come that were sent before the first refusal was known."""


@pytest.fixture
def place(keyvault_server, key_vault):
    return KeyVaultPlace(server=keyvault_server, vault=key_vault)


@pytest.mark.fault(47)
@pytest.mark.parametrize("operation", [None, "set"], ids=["everything", "writes"])
def test_a_storm_of_429_is_met_with_one_request_for_each_pause_and_delays_no_other(
    start, estate, place, operation
):
    for name in NAMES:
        estate.porter.install("shop", name, FIRST, sensitive=["password"]).finish()
    syncer = start(beside(estate, place.sink(), place.target), environ=place.environ)
    syncer.until(lambda: all(place.holds(name) == FIRST for name in NAMES))
    place.vault.forget_requests()
    storm = place.vault.faults.add(throttled(PAUSE), operation=operation)
    for name in NAMES:
        estate.porter.upgrade("shop", name, SECOND, sensitive=["password"]).finish()
    syncer.until(lambda: all(estate.everywhere(name, SECOND) for name in NAMES), SOON)
    syncer.until(lambda: len(refusals(place)) >= 4)
    place.vault.faults.remove(storm)
    pauses = [after - before for before, after in itertools.pairwise(refusals(place))]
    assert min(pauses) >= PAUSE - 0.01
    syncer.until(lambda: all(place.holds(name) == SECOND for name in NAMES))
    assert all(len(place.vault.versions(f"{name}-host")) == 2 for name in NAMES)


def refusals(place):
    """When requests were refused: the first, and those that were not under way then."""
    refused = sorted(request.at for request in place.vault.requests() if request.status == 429)
    return refused[:1] + [at for at in refused if at > refused[0] + UNDER_WAY]
