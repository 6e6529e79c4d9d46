"""What consumers get: templates of Vault's injector, rendered by the real `bao agent` from what the sink wrote.

The injector itself is no more than this agent beside a pod; Kubernetes is left out.
"""

from __future__ import annotations

import pytest

from backends.contract import Absent, Unchanged
from tests.contract.vault_rows import Place, desired, look

BUNDLE = """\
{{- with secret "%s" -}}
export DB_HOST="{{ .Data.data.host }}"
export DB_PASSWORD="{{ index .Data.data "admin-password" }}"
{{- end }}
"""
BINARY = '{{ with secret "%s" }}{{ base64Decode .Data.data.greeting }}{{ end }}'


@pytest.fixture
def place(bao_server) -> Place:
    return Place(bao_server, bao_server.mount(2))


def reader(place: Place) -> str:
    """A pod's token, which may read this path and nothing else."""
    path = f"{place.mount}/data/{place.path}/*" if place.version == 2 else f"{place.mount}/{place.path}/*"
    return place.bao.token(f'path "{path}" {{ capabilities = ["read"] }}')


async def test_a_bundle_is_rendered_and_rendered_again_after_an_update(place):
    data = {"host": b"db.example", "admin-password": b"first", "keystore": b"\xff\0"}
    async with place.sink() as sink:
        await sink.put(desired(place, data=data), Absent())
        with place.bao.agent(BUNDLE % f"{place.mount}/data/{place.address()}", reader(place)) as agent:
            assert agent.wait_for() == 'export DB_HOST="db.example"\nexport DB_PASSWORD="first"\n'
            update = desired(place, data=data | {"admin-password": b"second"}, revision="2")
            await sink.put(update, Unchanged((await look(sink, place)).version))
            assert agent.wait_for(lambda text: "second" in text).endswith('export DB_PASSWORD="second"\n')


async def test_a_secret_of_one_output_is_rendered(place):
    template = '{{ with secret "%s" }}{{ .Data.data.value }}{{ end }}'
    async with place.sink() as sink:
        await sink.put(desired(place, "orders/password", {"value": b"one"}, output="password"), Absent())
    path = f"{place.mount}/data/{place.address('orders/password')}"
    with place.bao.agent(template % path, reader(place), once=True) as agent:
        assert agent.wait_for() == "one"


async def test_bytes_that_are_no_text_are_rendered_by_decoding_them(place):
    async with place.sink() as sink:
        await sink.put(desired(place, data={"greeting": "grüße".encode("latin-1")}), Absent())
    with place.bao.agent(BINARY % f"{place.mount}/data/{place.address()}", reader(place), once=True) as agent:
        assert agent.ended() == 0
        assert agent.rendered.read_bytes() == "grüße".encode("latin-1")


async def test_with_version_1_the_same_fields_are_one_level_higher(bao_server):
    place = Place(bao_server, bao_server.mount(1), version=1)
    template = '{{ with secret "%s" }}{{ .Data.host }} {{ index .Data "admin-password" }}{{ end }}'
    async with place.sink() as sink:
        await sink.put(desired(place, data={"host": b"db", "admin-password": b"x"}), Absent())
    with bao_server.agent(template % f"{place.mount}/{place.address()}", reader(place), once=True) as agent:
        assert agent.wait_for() == "db x"
