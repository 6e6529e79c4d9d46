"""SIGKILL after any single request of a pass that creates, updates or removes a secret; then another pass.

Every request is a step: the server has done it, and the process dies before it hears of that. Excludes the
Kubernetes and the file sink, whose writes are single steps (tests/contract, tests/unit/backends).
"""

from __future__ import annotations

from itertools import count

import pytest

from tests.functional.kill_world import HOST, AzurePlace, VaultPlace
from tests.servers.http_proxy import HttpProxy

NEWER = b"battery staple@" + HOST
FEWEST = {"create": 5, "update": 5, "remove": 3}
"""Requests of a pass: if there were fewer, the steps would not be those this is about."""


@pytest.fixture(scope="module")
def proxy(bao_server):
    found = HttpProxy.start(bao_server.url, bao_server.ca_file)
    yield found
    found.stop()


@pytest.fixture(params=["vault, KV v2", "vault, KV v1", "azure-keyvault"])
def new_place(request, tmp_path_factory, bao_server, keyvault_server, proxy):
    def make():
        folder = tmp_path_factory.mktemp("place")
        if request.param == "azure-keyvault":
            return AzurePlace(folder, keyvault_server)
        return VaultPlace.make(folder, bao_server, proxy, int(request.param[-1]))

    return make


def prepare(place, change):
    """What was there before, and what is wanted now; answers what applications are to read in the end."""
    if change != "create":
        place.configure()
        assert not place.killed_at(0)
        assert place.value() == HOST
    place.configure(password=change == "update", installed=change != "remove")
    return {"create": HOST, "update": NEWER, "remove": None}[change]


@pytest.mark.fault(53)
@pytest.mark.parametrize("change", ["create", "update", "remove"])
def test_killed_after_any_request_the_next_pass_converges(new_place, change):
    for number in count(1):
        place = new_place()
        wanted = prepare(place, change)
        before, stranger = place.value(), place.stranger()
        killed = place.killed_at(number)
        assert not place.unmarked(), number
        assert place.value() in (before, wanted), number
        assert not place.killed_at(0), number
        assert (place.value(), place.unmarked(), place.stranger()) == (wanted, False, stranger), number
        if not killed:
            assert number > FEWEST[change]
            return
