"""The status that shows outputs, and the judgement whether it still is as written. No server."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import DesiredSecret, Mark
from backends.installation_outputs.description import description_of
from backends.installation_outputs.status import MAX_VALUE, MAX_VALUES, is_intact, sealed, shown, values
from backends.secret_value import SecretValue

CANARY = b"canary-7f3a9c51e2"
MARK = Mark(
    instance="prod-eu-1",
    source="source-1",
    rule="custom-resources",
    target="0",
    address="shop/orders",
    namespace="shop",
    installation="orders",
    installation_id="01HZX3QY7M5T8V9W0ABCDEFGHJ",
    run_id="run",
    result_id="result",
    revision="revision",
    content_id="content",
)
contents = st.dictionaries(st.text(min_size=1, max_size=8), st.binary(max_size=6000), max_size=5)


def status_of(data: dict[str, bytes], outputs: list[dict] | None = None) -> dict:
    attributes = {} if outputs is None else {"description": json.dumps({"run": "run", "outputs": outputs})}
    secrets = {name: SecretValue(content) for name, content in data.items()}
    desired = DesiredSecret(mark=MARK, data=secrets, attributes=attributes)
    return sealed(shown(desired, description_of(desired), 1), [])


@given(contents)
def test_bytes_are_shown_whole_and_read_back_or_said_to_be_cut(data):
    status = status_of(data)
    cut = {entry["name"] for entry in status["outputs"] if entry.get("truncated")}
    if cut:
        assert values(status) is None
    else:
        assert values(status) == {name: SecretValue(content) for name, content in data.items()}
    assert cut <= {name for name, content in data.items() if len(content) > MAX_VALUE * 3 // 4}
    assert cut >= {name for name, content in data.items() if len(content) > MAX_VALUE}


@given(contents)
def test_no_value_is_longer_than_what_the_definition_takes(data):
    for entry in status_of(data)["outputs"]:
        assert len(entry["value"].encode()) <= MAX_VALUE
        if entry.get("encoding") is None:
            assert data[entry["name"]].startswith(entry["value"].encode())


def test_all_values_together_are_shown_up_to_a_size_in_the_order_of_their_names():
    data = {f"{number:03}": b"x" * 4000 for number in range(50)}
    entries = status_of(data)["outputs"]
    sizes = [len(entry["value"]) for entry in entries]
    assert sum(sizes) == MAX_VALUES
    assert sizes == sorted(sizes, reverse=True)
    assert [bool(entry.get("truncated")) for entry in entries] == [size < 4000 for size in sizes]


@pytest.mark.parametrize("entry", [{"sensitive": True}, {}], ids=["sensitive", "not said"])
def test_what_is_not_clearly_plain_is_shown_without_its_bytes(entry):
    status = status_of({"token": CANARY}, [{"name": "token", "type": "string"} | entry])
    assert status["outputs"] == [{"name": "token", "type": "string", "sensitive": True}]


@given(contents, st.randoms())
def test_the_order_of_outputs_does_not_matter(data, random):
    names = list(data)
    random.shuffle(names)
    assert status_of({name: data[name] for name in names}) == status_of(data)


def test_a_whole_status_is_intact_and_one_of_another_revision_or_generation_is_not():
    status = status_of({"host": b"db"})
    assert is_intact(status, "revision", 1)
    assert not is_intact(status, "revision-2", 1)
    assert not is_intact(status, "revision", 2)
    assert not is_intact({}, "revision", 1)


@pytest.mark.parametrize("name", ["run", "outputs", "observedGeneration", "revision", "digest"])
def test_nothing_that_is_written_can_be_taken_out_unnoticed(name):
    status = copy.deepcopy(status_of({"host": b"db"}))
    del status[name]
    assert not is_intact(status, "revision", 1)
