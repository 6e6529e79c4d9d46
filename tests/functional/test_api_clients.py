"""Clients made from the protos alone get what our commands say, and from Porter's service what Porter printed.

Two clients: Python with generated stubs, and `buf curl`; a real `syncer api` over TLS, with tokens of a real
Kubernetes. Excludes who may not (test_api_rights.py) and pages (tests/unit/api).
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from syncer.cli import main
from tests.functional.api_site import (
    LISTS,
    OURS,
    OUTPUTS,
    PORTERS,
    PROTOS,
    RUNS,
    SENSITIVE,
    ApiSite,
    quickstart_served,
)

Json = Any
Client = Callable[..., list[Json]]

PRINTED = Path(__file__).parents[1] / "fixtures" / "porter-cli"
KEYS = [
    ("", "odd-names"),
    ("prod", "api"),
    ("prod", "in-flight"),
    ("shop", "Odd_Clean.Install"),
    ("shop", "orders-db"),
    ("shop", "storefront"),
    ("staging", "never-worked"),
    ("staging", "too-big"),
]
CLIENTS = ("python", "buf curl")


@pytest.fixture(scope="module")
def site(kube_cluster, mongo_server, tmp_path_factory) -> Iterator[ApiSite]:
    """What real Porter wrote, served."""
    folder = tmp_path_factory.mktemp("api")
    with quickstart_served(kube_cluster, mongo_server, folder, "api_clients") as site:
        yield site


@pytest.fixture(scope="module")
def token(site) -> str:
    return site.account("reader", [*LISTS, *RUNS, *OUTPUTS, *SENSITIVE])


@pytest.fixture
def printed(site, capsysbinary) -> Callable[..., Json]:
    """What one of our commands prints with the same configuration."""

    def run(*arguments: str) -> Json:
        main(["installations", *arguments, "-o", "json", "-c", str(site.syncer.config)])
        return json.loads(capsysbinary.readouterr().out)

    return run


@pytest.fixture(scope="module")
def stubs(tmp_path_factory) -> Path:
    """Generated from the protos and nothing else."""
    folder = tmp_path_factory.mktemp("stubs")
    protos = [str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTOS}"]
    subprocess.run([*command, f"--python_out={folder}", f"--grpc_python_out={folder}", *protos], check=True)
    return folder


@pytest.fixture(params=CLIENTS)
def client(request, site, token, stubs) -> Client:
    """Asks `(service, method, request)` after the other; each answer as JSON."""

    def python(*calls: tuple[str, str, Json]) -> list[Json]:
        script = Path(__file__).with_name("api_client.py")
        # NB: -I: nothing of this project can be imported.
        command = [sys.executable, "-I", str(script), str(stubs), site.address, str(site.ca_file)]
        wanted = json.dumps({"token": token, "calls": calls})
        done = subprocess.run(command, input=wanted, capture_output=True, text=True, timeout=60, check=True)
        found: list[Json] = json.loads(done.stdout)
        return found

    def buf(*calls: tuple[str, str, Json]) -> list[Json]:
        return [curl(site, token, *one) for one in calls]

    return python if request.param == "python" else buf


def curl(site: ApiSite, token: str, service: str, method: str, wanted: Json) -> Json:
    """As proto/README.md says."""
    command = [str(Path(sys.executable).with_name("buf")), "curl", "--protocol", "grpc"]
    options = ["--schema", str(PROTOS), "--cacert", str(site.ca_file), "--header", "@-"]
    url = f"https://{site.address}/{service}/{method}"
    done = subprocess.run(
        [*command, *options, "--data", json.dumps(wanted), url],
        input=f"authorization: Bearer {token}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 0:
        return json.loads(done.stdout)
    assert done.returncode % 8 == 0, done.stderr
    return {name: value for name, value in json.loads(done.stderr).items() if name in ("code", "message")}


def stored(time: Any) -> Any:
    """A time in JSON of protobuf, which ends in 3, 6 or 9 digits, as Porter writes it."""
    return re.sub(r"\.?0*Z$", "Z", time) if "." in time else time


def times_stored(message: Mapping[str, Any]) -> Mapping[str, Any]:
    names = ("created", "modified", "installed", "uninstalled", "started", "stopped")
    return {name: stored(value) if name in names else value for name, value in message.items()}


def without_nothing(message: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON of protobuf leaves out what is empty."""
    return {name: value for name, value in message.items() if value not in (None, "", {}, [], False)}


# --- our service ---------------------------------------------------------------------------


def test_installations_are_those_that_the_command_lists_field_by_field(printed, client):
    (answer,) = client((OURS, "ListInstallations", {"include_custom": True}))
    listed = printed("list", "--all-namespaces")
    expected = sorted(map(_installation, listed), key=lambda one: (one.get("namespace", ""), one["name"]))
    found = [{**one, "status": times_stored(one["status"])} for one in answer["installations"]]
    assert found == expected
    assert [(one.get("namespace", ""), one["name"]) for one in found] == KEYS


def _installation(printed: Json) -> Json:
    """What the API should say of what the command prints."""
    calculated = printed.pop("_calculated")
    state = f"INSTALLATION_STATE_{calculated['displayInstallationState'].upper()}"
    shown = {
        **{name: value for name, value in printed.items() if name not in ("schemaType", "bundle")},
        "status": without_nothing(printed["status"]),
        "state": state,
        "displayStatus": calculated.get("displayInstallationStatus", ""),
    }
    # A message that is there is there, even if everything in it is empty.
    return {**without_nothing(shown), "bundle": without_nothing(printed["bundle"]), "status": shown["status"]}


def test_some_installations_are_those_that_the_command_lists(printed, client):
    options = {
        ("--namespace", "shop"): {"namespace": "shop"},
        ("--namespace", ""): {"namespace": ""},
        ("--all-namespaces", "--name", "db"): {"name": "db"},
        ("--all-namespaces", "--label", "team=api"): {"labels": {"team": "api"}},
        ("--all-namespaces", "--label", "team=nobody"): {"labels": {"team": "nobody"}},
    }
    answers = client(*((OURS, "ListInstallations", wanted) for wanted in options.values()))
    for command, answer in zip(options, answers, strict=True):
        found = {one["name"] for one in answer.get("installations", ())}
        assert found == {one["name"] for one in printed("list", *command)}


def test_runs_are_those_that_the_command_lists_field_by_field(printed, client):
    requests = [{"namespace": namespace, "installation": name} for namespace, name in KEYS]
    answers = client(*((OURS, "ListInstallationRuns", wanted) for wanted in requests))
    names = {"bundle": "bundleReference", "version": "bundleVersion"}
    for (namespace, name), answer in zip(KEYS, answers, strict=True):
        expected = [
            without_nothing({names.get(part, part): value for part, value in run.items()})
            for run in printed("runs", "list", name, "-n", namespace)
        ]
        assert [times_stored(run) for run in answer.get("runs", ())] == expected
        assert expected


@pytest.mark.parametrize("sensitive", [False, True])
def test_outputs_are_those_that_the_command_lists_byte_by_byte(printed, client, sensitive):
    requests = [
        {"namespace": namespace, "installation": name, "include_sensitive": sensitive}
        for namespace, name in KEYS
    ]
    answers = client(*((OURS, "ListInstallationRunOutputs", wanted) for wanted in requests))
    shown = ["--show-sensitive"] if sensitive else []
    count = 0
    for (namespace, name), answer in zip(KEYS, answers, strict=True):
        expected = list(map(_output, printed("outputs", "list", name, "-n", namespace, *shown)))
        assert list(map(_seen, answer.get("outputs", ()))) == expected
        count += sum("value" in one and one["sensitive"] for one in expected)
    assert (count > 0) == sensitive


def test_outputs_of_a_run_are_those_that_the_command_lists(printed, client):
    runs = printed("runs", "list", "orders-db", "-n", "shop")
    succeeded = [run["id"] for run in runs if run["status"] == "succeeded"]
    requests = [
        {"namespace": "shop", "installation": "orders-db", "run": run, "include_sensitive": True}
        for run in succeeded
    ]
    answers = client(*((OURS, "ListInstallationRunOutputs", wanted) for wanted in requests))
    assert len(answers) > 1
    for run, answer in zip(succeeded, answers, strict=True):
        expected = list(map(_output, printed("outputs", "list", "-r", run, "--show-sensitive")))
        assert list(map(_seen, answer["outputs"])) == expected
        assert answer["runId"] == run
        assert {one["runId"] for one in answer["outputs"]} == {run}


def _output(printed: Json) -> Json:
    """An output as the command prints it: its bytes, or why there are none."""
    seen = {name: printed[name] for name in ("name", "type", "sensitive")}
    if printed["value"] is None:
        return {**seen, "reason": printed["reason"]}
    if printed["value"] == "******":
        return seen
    binary = printed.get("encoding") == "base64"
    value = base64.b64decode(printed["value"]) if binary else printed["value"].encode()
    return {**seen, "value": value}


def _seen(answer: Json) -> Json:
    """An output of an answer, likewise."""
    seen = {"name": answer["name"], "type": answer["type"], "sensitive": answer.get("sensitive", False)}
    if "unavailable" in answer:
        return {**seen, "reason": answer["unavailable"]}
    return {**seen, "value": base64.b64decode(answer["value"])} if "value" in answer else seen


def test_pages_that_are_asked_for_one_by_one_are_the_whole(client):
    (whole,) = client((OURS, "ListInstallations", {}))
    found: list[Json] = []
    wanted: dict[str, Any] = {"page_size": 3}
    while True:
        (page,) = client((OURS, "ListInstallations", wanted))
        found += page["installations"]
        if "nextPageToken" not in page:
            break
        wanted["page_token"] = page["nextPageToken"]
    assert found == whole["installations"]


def test_a_refusal_is_told_to_both_clients(client):
    denied = {"code": "permission_denied", "message": "not allowed, or not there"}
    missing = {"namespace": "shop", "installation": "nobody"}
    answers = client(
        (OURS, "ListInstallationRuns", missing),
        (PORTERS, "ListInstallationLatestOutputs", {"namespace": "shop", "name": "nobody"}),
        (OURS, "ListInstallationRuns", {}),
    )
    assert answers[:2] == [denied, denied]
    assert answers[2]["code"] == "invalid_argument"


# --- Porter's service ----------------------------------------------------------------------


def test_porters_installations_are_what_porter_printed(client):
    printed = json.loads((PRINTED / "installations.json").read_text())
    (answer,) = client((PORTERS, "ListInstallations", {"all_namespaces": True}))
    expected = list(map(_porters_installation, printed))
    assert [{**one, "status": times_stored(one["status"])} for one in answer["installation"]] == expected
    assert len(expected) == len(KEYS)


def _porters_installation(printed: Json) -> Json:
    """What Porter's API has fields for."""
    unknown = ("uninstalled", "labels", "custom")
    bundle = {name: printed["bundle"].get(name) for name in ("repository", "version")}
    return {
        **without_nothing({name: value for name, value in printed.items() if name not in unknown}),
        "bundle": without_nothing(bundle),
        "status": without_nothing(printed["status"]),
        "_calculated": without_nothing(printed["_calculated"]),
    }


def test_porters_outputs_are_what_porter_printed(client):
    paths = {
        key: PRINTED / f"{key[0] or '_global'}--{key[1]}.outputs.json"
        for key in KEYS
        if key != ("", "odd-names")
    }
    requests = [{"namespace": namespace, "name": name} for namespace, name in paths]
    answers = client(*((PORTERS, "ListInstallationLatestOutputs", wanted) for wanted in requests))
    for path, answer in zip(paths.values(), answers, strict=True):
        expected = json.loads(path.read_text())
        found = [{"sensitive": False, **one} for one in answer.get("outputs", ())]
        assert found == expected, path
    assert sum(len(answer.get("outputs", ())) for answer in answers) > 10


def test_where_porter_fails_its_service_fails(client):
    """Porter printed nothing for this one: a sensitive output of it is nowhere."""
    assert (PRINTED / "_global--odd-names.outputs.json").read_bytes() == b""
    (answer,) = client((PORTERS, "ListInstallationLatestOutputs", {"name": "odd-names"}))
    assert answer["code"] == "failed_precondition"
