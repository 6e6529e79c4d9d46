"""One installation to four sinks in one `once`, and with any one of them down.

Simulates a kube-apiserver that is gone, a sealed OpenBao, a key vault that refuses connections and a disk
that is not mounted. Excludes what each sink does in detail (tests/contract).
"""

from __future__ import annotations

import json

import pytest

from syncer.cli import main
from tests.functional.acceptance import remove_from_dump
from tests.functional.four_sinks import SINKS, Estate

PASSWORD = b"battery staple"


@pytest.fixture
def estate(tmp_path, kube_cluster, bao_server, keyvault_server, monkeypatch) -> Estate:
    made = Estate.make(tmp_path, kube_cluster, bao_server, keyvault_server)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def run(capsys):
    def run(path, *arguments):
        code = main([*arguments, "-c", str(path)])
        return code, capsys.readouterr()

    return run


def test_one_pass_fans_an_installation_out_to_four_sinks_and_a_second_one_writes_nothing(estate, run):
    path = estate.configure()
    code, shown = run(path, "once", "-o", "json")
    assert code == 0, shown.err
    contents = estate.contents()
    assert contents["cluster"]["admin-password"] == PASSWORD
    assert all(contents[name] == contents["cluster"] for name in SINKS)
    writes, versions = (
        estate.vault.writes,
        {name: estate.vault.versions(name) for name in estate.vault.names()},
    )
    metadata = estate.bao.read(f"{estate.mount}/metadata/porter/{estate.space}/orders-db")
    code, shown = run(path, "once", "-o", "json")
    summary = json.loads(shown.out)["summary"]
    assert (code, summary["keep"], summary["create"] + summary["update"]) == (
        0,
        3 + len(contents["azure"]),
        0,
    )
    assert estate.vault.writes == writes
    assert {name: estate.vault.versions(name) for name in estate.vault.names()} == versions
    assert estate.bao.read(f"{estate.mount}/metadata/porter/{estate.space}/orders-db") == metadata


@pytest.mark.parametrize("down", SINKS)
def test_with_one_sink_down_the_others_are_complete_and_it_is_named(estate, run, down):
    with estate.down(down) as path:
        code, shown = run(path, "once", "-o", "json")
        assert code == 1
        assert [line for line in shown.err.splitlines() if down in line], shown.err
        code, shown = run(path, "status", "-o", "json")
        assert code == 1
        states = {
            target["sink"]: target["state"] for one in json.loads(shown.out) for target in one["targets"]
        }
    contents = estate.contents()
    up = [name for name in SINKS if name != down]
    assert all(contents[name]["admin-password"] == PASSWORD for name in up)
    assert all(contents[name] == contents[up[0]] for name in up)
    assert contents[down] == {}
    assert {name: states.get(name) for name in up} == dict.fromkeys(up, "InSync")
    assert states.get(down) != "InSync"
    code, shown = run(estate.configure(), "once", "-o", "json")
    assert code == 0, shown.err
    assert estate.contents()[down] == contents[up[0]]


def strangers(estate):
    """A secret of somebody else in each of two sinks, and everything there is of them."""
    return (
        estate.bao.read(f"{estate.mount}/metadata/porter/{estate.space}/orders-db"),
        estate.bao.read(f"{estate.mount}/data/porter/{estate.space}/orders-db"),
        estate.vault.versions(f"{estate.space}-orders-db-host"),
    )


def test_a_strangers_secrets_are_left_until_they_are_adopted(estate, run):
    estate.bao.write(f"{estate.mount}/data/porter/{estate.space}/orders-db", {"data": {"theirs": "x"}})
    estate.vault.put(f"{estate.space}-orders-db-host", "theirs", tags={})
    before, path = strangers(estate), estate.configure()
    code, shown = run(path, "once", "-o", "json")
    assert (code, json.loads(shown.out)["summary"]["conflict"]) == (4, 2)
    assert strangers(estate) == before
    addresses = (f"vault:porter/{estate.space}/orders-db", f"azure:{estate.space}-orders-db-host")
    code, shown = run(path, "adopt", *addresses)
    assert code == 0, shown.err
    contents = estate.contents()
    assert contents["vault"] == contents["cluster"]
    assert contents["azure"]["host"] == contents["cluster"]["host"]
    code, shown = run(path, "once", "-o", "json")
    assert (code, json.loads(shown.out)["summary"]["update"]) == (0, 0)


def test_a_deleted_installation_takes_its_secrets_along_and_nothing_else(estate, run):
    path = estate.configure()
    assert run(path, "once")[0] == 0
    estate.bao.write(f"{estate.mount}/data/porter/{estate.space}/theirs", {"data": {"theirs": "x"}})
    estate.vault.put(f"{estate.space}-theirs-host", "theirs", tags={})
    remove_from_dump(estate.dump, "orders-db")
    code, shown = run(path, "plan", "-o", "json")
    assert (code, json.loads(shown.out)["summary"]["delete"]) == (3, 3 + 5)
    code, shown = run(path, "once", "-o", "json")
    assert code == 0, shown.err
    assert estate.vault.names() == [f"{estate.space}-theirs-host"]
    assert estate.bao.list(f"{estate.mount}/metadata/porter/{estate.space}") == ["theirs"]
    assert (estate.in_cluster(), estate.in_files()) == ({}, {})
