"""Porter's values in a real OpenBao, written as Porter's `hashicorp.vault` plugin does it: the whole secret,
with the one field that is stored, so that each value replaces the one before.

Porter and its plugin themselves are left out; what they write was read off them.
"""

from __future__ import annotations

import posixpath
import secrets
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from backends.clients.surroundings import Surroundings
from backends.clients.vault_options import VaultOptions
from backends.contract import FindingLevel
from backends.secret_value import SecretValue
from syncer.core.errors import SourceUnavailable
from syncer.sources.porter.secrets.vault import MOST_VERSIONS, VaultSecrets
from tests.servers.http_proxy import HttpProxy, answer, before, drop, on
from tests.servers.openbao import BaoServer

CANARY = "canary-7f3a9c51e2"
ABSENT = "not in the store, nor in the versions it keeps"


@dataclass
class Store:
    """Where the plugin stores; what is asked here, root asks."""

    bao: BaoServer
    mount: str
    path: str

    @property
    def prefix(self) -> str:
        return f"{self.mount}/{self.path}"

    def policy(self, *capabilities: str) -> str:
        listed = ", ".join(f'"{each}"' for each in capabilities or ("read",))
        return f'path "{self.mount}/data/{self.path}*" {{ capabilities = [{listed}] }}'

    def options(self, token: str | None = None, **changes: object) -> VaultOptions:
        settings = {
            "address": self.bao.url,
            "caFile": str(self.bao.ca_file),
            "auth": {"method": "token", "token": {"env": "TOKEN"}},
            **changes,
        }
        environ = {"TOKEN": token or self.bao.token(self.policy())}
        return VaultOptions.model_validate(settings, context=Surroundings(folder=Path("/"), environ=environ))

    def store(self, key: str, value: object) -> None:
        """As the plugin does: at the path of the key's folder, a map of the one field."""
        folder, name = posixpath.split(key)
        self.bao.write(
            f"{self.mount}/data/{posixpath.normpath(f'{self.path}/{folder}')}", {"data": {name: value}}
        )

    def bury(self, verb: str, *versions: int) -> None:
        self.bao.write(f"{self.mount}/{verb}/{self.path}", {"versions": [*versions]})


@pytest.fixture(scope="module")
def mount(bao_server) -> str:
    return bao_server.mount(2)


@pytest.fixture
def store(bao_server, mount) -> Store:
    return Store(bao_server, mount, f"porter/{secrets.token_hex(5)}")


@pytest.fixture
async def resolver(store) -> AsyncIterator[VaultSecrets]:
    async with VaultSecrets(store.options(), path_prefix=store.prefix) as opened:
        yield opened


def value(text: str) -> SecretValue:
    return SecretValue(text.encode())


@contextmanager
def unavailable() -> Iterator[pytest.ExceptionInfo[SourceUnavailable]]:
    with pytest.raises(SourceUnavailable) as caught:
        yield caught
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


async def test_each_value_is_found_though_the_next_one_replaced_it(store, resolver):
    keys = {f"01RUN-output-{number}": f"{CANARY}-{number}" for number in range(10)}
    for key, text in keys.items():
        store.store(key, text)
    assert await resolver.resolve(keys) == {key: value(text) for key, text in keys.items()}


async def test_of_a_value_that_was_stored_twice_the_newest_is_found(store, resolver):
    for text in ("old", "newer", "newest"):
        store.store("01RUN-password", text)
    store.store("01RUN-other", "x")
    assert await resolver.resolve(["01RUN-password"]) == {"01RUN-password": value("newest")}


async def test_what_is_not_there_is_told_beside_what_is(store, resolver):
    store.store("01RUN-password", CANARY)
    found = await resolver.resolve(["01RUN-password", "01RUN-gone", "01OTHER-password"])
    assert found == {"01RUN-password": value(CANARY), "01RUN-gone": ABSENT, "01OTHER-password": ABSENT}


async def test_an_empty_store_and_no_keys_are_no_failure(resolver):
    assert await resolver.resolve(["01RUN-password"]) == {"01RUN-password": ABSENT}
    assert await resolver.resolve([]) == {}


@pytest.mark.parametrize("verb", ["delete", "destroy"])
async def test_a_version_that_is_deleted_or_destroyed_hides_only_itself(store, resolver, verb):
    for number in range(1, 6):
        store.store(f"01RUN-output-{number}", str(number))
    store.bury(verb, 5, 3)
    keys = [f"01RUN-output-{number}" for number in range(1, 6)]
    found = await resolver.resolve(keys)
    assert [found[key] for key in keys] == [value("1"), value("2"), ABSENT, value("4"), ABSENT]


async def test_where_all_versions_are_deleted_or_the_metadata_are_there_is_nothing(store, resolver):
    store.store("01RUN-password", CANARY)
    store.bury("delete", 1)
    assert await resolver.resolve(["01RUN-password"]) == {"01RUN-password": ABSENT}
    store.bao.delete(f"{store.mount}/metadata/{store.path}")
    assert await resolver.resolve(["01RUN-password"]) == {"01RUN-password": ABSENT}


async def test_what_the_engine_has_pruned_is_gone_and_looked_for_no_further(store, resolver):
    for number in range(60):
        store.store(f"01RUN-output-{number}", str(number))
    position = store.bao.audit.position()
    found = await resolver.resolve(
        ["01RUN-output-0", "01RUN-output-49", "01RUN-output-50", "01RUN-output-59"]
    )
    assert [*found.values()] == [ABSENT, ABSENT, value("50"), value("59")]
    assert len(store.bao.audit.requests(since=position, prefix=store.mount)) <= 1 + 2 * 16


async def test_however_many_versions_are_kept_the_search_ends(bao_server):
    store = Store(bao_server, bao_server.mount(2, max_versions=1000), "porter")
    store.store("01RUN-first", "first")
    for _ in range(MOST_VERSIONS - 1):
        store.store("01RUN-other", "x")
    async with VaultSecrets(store.options(), path_prefix=store.prefix) as resolver:
        assert await resolver.resolve(["01RUN-first"]) == {"01RUN-first": value("first")}
        store.store("01RUN-other", "x")
        store.store("01RUN-other", "x")
        position = bao_server.audit.position()
        assert await resolver.resolve(["01RUN-first"]) == {"01RUN-first": ABSENT}
        assert len(bao_server.audit.requests(since=position, prefix=store.mount)) <= MOST_VERSIONS + 1


# --- odd keys


@pytest.mark.bad_input(12, 17)
@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "a/b/c",
        "tls.key",
        "a b",
        "a?version=1",
        "ü",
        "a%41",
        "a#b",
        "x?y/z",
        "x#y/z",
        "x%41/z",
        "..",
        "a&b=c",
        "[0]",
    ],
)
async def test_a_value_is_found_under_whatever_name(store, resolver, name):
    store.store(f"01RUN-{name}", CANARY)
    assert await resolver.resolve([f"01RUN-{name}"]) == {f"01RUN-{name}": value(CANARY)}


@pytest.mark.bad_input(12)
@pytest.mark.parametrize("name", ["x?version=1/password", "x#/password", "x%2F../password"])
async def test_a_key_reaches_no_other_secret(store, resolver, name):
    store.bao.write(f"{store.mount}/data/{store.path}/01RUN-x", {"data": {"password": CANARY}})
    store.bao.write(f"{store.mount}/data/{store.path}/01RUN-x", {"data": {"password": CANARY}})
    assert await resolver.resolve([f"01RUN-{name}"]) == {f"01RUN-{name}": ABSENT}


@pytest.mark.bad_input(12)
@pytest.mark.parametrize(
    "key", ["../other/password", "a/../../other/password", "01RUN-a..b/password", "../../sys/password"]
)
async def test_a_key_that_steps_out_is_absent_and_never_asked_for(store, resolver, key):
    position = store.bao.audit.position()
    assert await resolver.resolve([key]) == {key: ABSENT}
    assert store.bao.audit.requests(since=position, prefix=store.mount) == ()


@pytest.mark.bad_input(7)
@pytest.mark.parametrize("text", ["", "line\n", "\0\x1b[31m", "ключ", "/w==", " \r\n"])
async def test_text_comes_back_exactly(store, resolver, text):
    store.store("01RUN-password", text)
    assert await resolver.resolve(["01RUN-password"]) == {"01RUN-password": value(text)}


@pytest.mark.bad_input(5)
@pytest.mark.parametrize("found", [1, None, ["x"], {"a": "b"}, True])
async def test_a_field_that_is_no_text_is_told(store, resolver, found):
    store.store("01RUN-password", found)
    assert await resolver.resolve(["01RUN-password"]) == {
        "01RUN-password": "its field in the store is no text"
    }


async def test_one_odd_key_does_not_keep_the_others_back(store, resolver):
    odd = "01RUN-line\nbreak\0/x"
    store.store("01RUN-password", CANARY)
    found = await resolver.resolve([odd, "01RUN-password"])
    assert found == {odd: ABSENT, "01RUN-password": value(CANARY)}


# --- unavailable is never absent


@pytest.mark.fault(39)
async def test_a_sealed_store_is_unavailable(store, resolver):
    store.store("01RUN-password", CANARY)
    options = store.options()
    with store.bao.sealed():
        with unavailable() as caught:
            await resolver.resolve(["01RUN-password"])
        assert "the server is sealed" in caught.value.reason
        with unavailable():
            await VaultSecrets(options, path_prefix=store.prefix).__aenter__()
    assert await resolver.resolve(["01RUN-password"]) == {"01RUN-password": value(CANARY)}


async def test_a_missing_right_is_unavailable(store):
    store.store("01RUN-password", CANARY)
    token = store.bao.token(store.policy("list"))
    async with VaultSecrets(store.options(token), path_prefix=store.prefix) as resolver:
        with unavailable() as caught:
            await resolver.resolve(["01RUN-password"])
        assert caught.value.reason == f"the right to read {store.mount}/data/{store.path} is missing"
        (finding,) = await resolver.check()
        assert (finding.level, caught.value.reason in finding.detail) == (FindingLevel.ERROR, True)


async def test_a_token_that_is_refused_is_unavailable(store):
    with unavailable() as caught:
        await VaultSecrets(store.options("wrong"), path_prefix=store.prefix).__aenter__()
    assert caught.value.reason == "Porter's secrets: the login by token was refused (status 403)"


async def test_a_mount_that_is_missing_is_unavailable(store):
    async with VaultSecrets(store.options(store.bao.root_token), path_prefix="nowhere/porter") as resolver:
        with unavailable():
            await resolver.resolve(["01RUN-password"])


async def test_an_engine_of_version_1_has_nothing_in_that_place(store):
    # NB: it answers as if there were nothing; the output is held, and says that its value is not in the store
    prefix = f"{store.bao.mount(1)}/porter"
    async with VaultSecrets(store.options(store.bao.root_token), path_prefix=prefix) as resolver:
        assert await resolver.resolve(["01RUN-password"]) == {"01RUN-password": ABSENT}


@pytest.fixture(scope="module")
def proxy(bao_server) -> Iterator[HttpProxy]:
    started = HttpProxy.start(bao_server.url, bao_server.ca_file)
    yield started
    started.stop()


@pytest.mark.parametrize("action", [drop(), answer(404, b"<html>"), answer(404, {"kind": "Status"}), answer(502, b"")],
                         ids=["cut", "html", "json", "502"])  # fmt: skip
@pytest.mark.parametrize("number", [1, 2, 5])
async def test_a_search_that_is_cut_anywhere_is_unavailable_and_not_absent(store, proxy, action, number):
    for each in range(8):
        store.store(f"01RUN-output-{each}", CANARY)
    options = store.options(address=proxy.url, caFile=str(proxy.ca_file))
    async with VaultSecrets(options, path_prefix=store.prefix) as resolver:
        counted = iter(range(1, 100))
        wanted = on("GET", path=f"/{store.mount}/")
        with (
            proxy.rules.applied(lambda m, p, n: wanted(m, p, n) and next(counted) == number, action),
            unavailable(),
        ):
            await resolver.resolve(["01RUN-output-0"])
        assert await resolver.resolve(["01RUN-output-0"]) == {"01RUN-output-0": value(CANARY)}


async def test_a_value_that_is_stored_during_the_search_hides_none(store, proxy):
    for each in range(5):
        store.store(f"01RUN-output-{each}", str(each))
    options = store.options(address=proxy.url, caFile=str(proxy.ca_file))
    async with VaultSecrets(options, path_prefix=store.prefix) as resolver:
        more = before(lambda _: store.store("01RUN-more", "more"))
        with proxy.rules.applied(on("GET", path=f"/{store.mount}/"), more, times=1):
            assert await resolver.resolve(["01RUN-output-0"]) == {"01RUN-output-0": value("0")}


# --- check


async def test_a_check_of_a_working_store_names_the_place_and_reads_only(store, resolver):
    position = store.bao.audit.position()
    (finding,) = await resolver.check()
    assert (finding.level, finding.detail) == (
        FindingLevel.OK,
        f"secret {store.path!r} of the KV engine at {store.mount!r}",
    )
    assert store.bao.audit.writes(since=position, prefix=store.mount) == ()
    assert CANARY not in repr(resolver)
