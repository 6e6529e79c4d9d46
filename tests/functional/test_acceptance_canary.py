"""No value leaves but to the sinks: canaries in every value and credential, everything at debug, and a search.

Simulates failures on both sides while it watches logs, output, reports, errors, marks, events, names and
the API server's own log of requests. Excludes memory, and what the servers keep of the data itself.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import json
import logging
import random
import secrets
import string
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from backends.secret_value import SecretValue
from syncer.app import examine
from syncer.config.errors import ConfigError
from syncer.config.loading import load_config
from syncer.core.errors import SourceError
from syncer.core.model import InstallationKey
from tests.functional.acceptance import MongoDatabase, Site, Watcher, actions, held_hashes
from tests.unit.sources.porter_world import PLAIN, SENSITIVE, World, bundle

WINDOW = 10
"""So many characters in a row of a canary are a leak, too."""
_LETTERS = string.ascii_letters + string.digits
_PLAIN_WORDS = ("", "x" * 40, _LETTERS * 3, "0123456789abcdef" * 40, json.dumps({"a": ["b"] * 9}))


# --- the search ----------------------------------------------------------------------------


def new_canary() -> str:
    """Unique, and with characters that every encoding writes in its own way."""
    core = "".join(secrets.choice(_LETTERS) for _ in range(24))
    return f'{core[:12]}"\\/ é<{core[12:]}\n'


def traces(canary: str) -> dict[str, str]:
    """How a value would look in a text, by name of the encoding."""
    raw = canary.encode()
    found = {
        "hex": raw.hex(),
        "upper-case hex": raw.hex().upper(),
        "url": quote(canary, safe=""),
        "url of a form": quote_plus(canary),
        "json": json.dumps(canary)[1:-1],
        "json in utf-8": json.dumps(canary, ensure_ascii=False)[1:-1],
        "json in json": json.dumps(json.dumps(canary)[1:-1])[1:-1],
        "repr": repr(canary)[1:-1],
        "repr of bytes": repr(raw)[2:-1],
        "sha-256": hashlib.sha256(raw).hexdigest(),
        "base64 of sha-256": base64.b64encode(hashlib.sha256(raw).digest()).decode(),
    }
    for offset in range(3):
        # What precedes and follows is not known: the characters it would change are left out.
        whole = base64.b64encode(b"\0" * offset + raw)[4 if offset else 0 : -4].decode()
        found[f"base64 at {offset}"] = whole
        found[f"url-safe base64 at {offset}"] = whole.replace("+", "-").replace("/", "_")
    windows = dict.fromkeys(canary[at : at + WINDOW] for at in range(len(canary) - WINDOW + 1))
    return found | {f"part {part!r}": part for part in windows}


def leaks(text: str, canaries: dict[str, str]) -> set[tuple[str, str]]:
    """Which canaries stand in a text, and how they are written."""
    return {
        (name, encoding)
        for name, canary in canaries.items()
        for encoding, trace in traces(canary).items()
        if trace in text
    }


# NB: the same in every process, as it names tests.
_EXAMPLE = 'Lpp4CdnQmtXe"\\/ é<Q0oQkbDWSi6N\n'


@pytest.mark.parametrize("encoding", traces(_EXAMPLE))
def test_the_search_finds_what_is_planted(encoding):
    around = "".join(random.Random(encoding).choices(_LETTERS, k=200))
    planted = f"{around}{traces(_EXAMPLE)[encoding]}{around}"
    assert ("it", encoding) in leaks(planted, {"it": _EXAMPLE})


@pytest.mark.parametrize("offset", range(3))
@pytest.mark.parametrize("behind", range(3))
def test_the_search_finds_a_value_inside_of_a_longer_one_in_base64(offset, behind):
    text = base64.b64encode(b"x" * offset + _EXAMPLE.encode() + b"y" * behind).decode()
    assert {name for name, _ in leaks(text, {"it": _EXAMPLE})} == {"it"}


@pytest.mark.parametrize("words", _PLAIN_WORDS)
def test_the_search_finds_nothing_in_anything_else(words):
    others = "".join(repr(traces(new_canary())) for _ in range(20))
    assert leaks(words + others, {"it": _EXAMPLE}) == set()


def test_a_value_that_is_printed_by_mistake_would_be_found(caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("any.module").debug("wrote %r", _EXAMPLE.encode())
    assert leaks(caplog.text, {"it": _EXAMPLE})
    assert not leaks(repr([SecretValue(_EXAMPLE.encode())]), {"it": _EXAMPLE})


# --- a database full of canaries -----------------------------------------------------------


@dataclass
class Aviary:
    """Canaries by where they were put, and everything that was said meanwhile."""

    folder: Path
    canaries: dict[str, str] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)

    def plant(self, where: str) -> str:
        return self.canaries.setdefault(where, new_canary())

    def hear(self, where: str, *things: object) -> None:
        self.said += [(where, one if isinstance(one, str) else repr(one)) for one in things]

    def caught(self, where: str, error: BaseException) -> None:
        self.hear(f"{where}: the error", error, str(error), "".join(traceback.format_exception(error)))

    def found(self) -> set[tuple[str, str, str]]:
        return {(where, *leak) for where, text in self.said for leak in leaks(text, self.canaries)}


@pytest.fixture
def aviary(tmp_path) -> Aviary:
    (tmp_path / "secrets").mkdir()
    return Aviary(folder=tmp_path)


def fill(world: World, aviary: Aviary) -> None:
    """One installation for each way a value can take, or fail to."""
    _add(world, aviary, "good", seal="right")
    _add(world, aviary, "dangling", seal="none")
    _add(world, aviary, "swapped", seal="wrong")
    _add(world, aviary, "large", more=b"\0" * (1024 * 1024))
    _add(world, aviary, "foreign", seal="right")
    _add(world, aviary, "forbidden", seal="right", namespace="elsewhere")
    lost = _add(world, aviary, "unreadable")
    lost["plain"]["value"] = "!" + aviary.plant("a value that is not base64")
    bent = _add(world, aviary, "bent")
    bent["plain"]["value"] = {"inner": aviary.plant("a value that is a document")}
    pointed = _add(world, aviary, "pointed")
    pointed["plain"]["key"] = "../" + aviary.plant("a key that is a path")
    for one in world.documents["runs"]:
        one["parameters"] = {"parameters": [{"name": "p", "source": {"value": aviary.plant("a parameter")}}]}
    for one in world.documents["results"]:
        one["message"] = f"failed with {aviary.plant('a message')}"
    for one in world.documents["installations"]:
        one["custom"] = {"token": aviary.plant("custom data")}


def _add(world, aviary, name, *, seal=None, more=b"", namespace="shop"):
    key = InstallationKey(namespace, name)
    world.installation(key)
    plain = aviary.plant(f"{name}/plain").encode() + more
    sealed = aviary.plant(f"{name}/sealed").encode()
    declares = bundle(plain=PLAIN, sealed=SENSITIVE)
    written = world.run({"plain": plain, "sealed": sealed}, key=key, declares=declares)
    if seal is not None:
        written["sealed"].update(value=None, key=f"{written['run']['_id']}-sealed")
    if seal == "right":
        (aviary.folder / "secrets" / written["sealed"]["key"]).write_bytes(sealed)
    if seal == "wrong":
        another = aviary.plant(f"{name}/another value in the store").encode()
        (aviary.folder / "secrets" / written["sealed"]["key"]).write_bytes(another)
    return written


TEMPLATES = {
    "pointer into no json": "{sealed|pointer:/a/b}",
    "good": "user:{sealed|urlencode}@{plain|base64}{plain|json}",
}


def rules(site: Site) -> list[dict[str, object]]:
    usual = site.document()["rules"]

    def rule(name: str, **target: object) -> dict[str, object]:
        place = {
            "sink": "cluster",
            "namespace": f"{site.prefix}-{{namespace}}",
            "name": f"{{installation}}-{name}",
        }
        return {"name": name, "match": {"installations": ["good"]}, "targets": [{**place, **target}]}

    templates = [
        rule(f"template{number}", keys={"dsn": {"template": text}})
        for number, text in enumerate(TEMPLATES.values())
    ]
    docker = rule("docker", type="kubernetes.io/dockerconfigjson", keys={".dockerconfigjson": "sealed"})
    tls = rule("tls", type="kubernetes.io/tls")
    return [*usual, *templates, docker, tls]


@pytest.fixture
def database(mongo_server, mongo_url) -> MongoDatabase:
    return MongoDatabase(server=mongo_server, url=mongo_url)


@pytest.fixture
def site(kube_cluster, kube_namespace, tmp_path, database, aviary) -> Site:
    kube_cluster.admin.create_namespace(f"{kube_namespace}-elsewhere")
    store = {"kind": "filesystem", "path": str(aviary.folder / "secrets")}
    source = {**database.settings, "secrets": store}
    site = Site(folder=tmp_path, cluster=kube_cluster, prefix=kube_namespace, source=source)
    site.settings = {"rules": rules(site)}
    return site


@contextmanager
def everything_said(caplog) -> Iterator[None]:
    """All loggers there are, at their most talkative. NB: the test's own client speaks in them, too."""
    names = ("", "pymongo", "pymongo.command", "pymongo.connection", "aiohttp", "asyncio", "kubernetes")
    before = {name: logging.getLogger(name).level for name in names}
    with caplog.at_level(logging.DEBUG):
        for name in names:
            logging.getLogger(name).setLevel(logging.DEBUG)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


@pytest.fixture
def short_of_patience(monkeypatch) -> None:
    monkeypatch.setattr("syncer.sources.porter.mongodb.SELECTION_TIMEOUT", 0.5)


async def passes(site: Site, aviary: Aviary, where: str):
    """Doctor, plan and once, whatever comes of them; the last report."""
    config, report = site.config(), None
    aviary.hear(f"{where}: the configuration", config)
    aviary.hear(f"{where}: doctor", await examine(config))
    for name, run in (("plan", site.plan), ("once", site.once)):
        site.watcher = Watcher()
        try:
            report = await run()
            aviary.hear(f"{where}: {name}", report, report.entries)
        except SourceError as error:
            aviary.caught(f"{where}: {name}", error)
        aviary.hear(f"{where}: {name}, the observer", site.watcher.told, site.watcher.failures)
    return report


def hear_sinks(site: Site, aviary: Aviary) -> None:
    """Everything in the sinks that is not data."""
    for path, secret in site.secrets().items():
        aviary.hear(f"secret {path}", path, json.dumps(secret["metadata"], ensure_ascii=False))
    for space in ("shop", "elsewhere"):
        aviary.hear("events", json.dumps(site.cluster.admin.list("v1", "Event", f"{site.prefix}-{space}")))
    aviary.hear("audit log", site.cluster.audit.path.read_text())
    for path in site.out.rglob("*"):
        aviary.hear("file name", str(path.relative_to(site.out)))
        if path.name == "..syncer.json":
            aviary.hear(f"file {path}", path.read_text())


def hear_output(aviary: Aviary, caplog, capfd) -> None:
    gc.collect()  # a task whose exception nobody asked for is logged only then
    aviary.hear("log", caplog.text, *(repr(vars(record)) for record in caplog.records))
    aviary.hear("standard output and error", *capfd.readouterr())


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pymongo, cut off
async def test_no_value_is_anywhere_but_in_the_sinks(site, database, aviary, caplog, capfd):
    world = World()
    fill(world, aviary)
    database.publish(world.documents)
    site.create("shop/foreign-outputs", {"theirs": aviary.plant("a secret of others").encode()})
    strange = site.out / "shop" / "foreign"
    strange.mkdir(parents=True)
    (strange / "theirs").write_bytes(aviary.plant("a file of others").encode())
    aviary.canaries["the token of the account"] = site.cluster.tokens["syncer"]
    aviary.canaries["the token of the reader"] = site.cluster.tokens["reader"]

    with everything_said(caplog):
        report = await passes(site, aviary, "first")
        assert report is not None
        assert actions(report) == {"create", "conflict", "hold"}
        reasons = " ".join(entry.reason for entry in report.entries)
        assert all(word in reasons for word in ("too large", "not ours", "pointer", "not in the store"))
        good = {
            "plain": aviary.canaries["good/plain"].encode(),
            "sealed": aviary.canaries["good/sealed"].encode(),
        }
        assert site.in_files()["shop/good"] == good
        assert site.in_cluster()["shop/good-outputs"] == good
        await passes(site, aviary, "in sync")

        site.edit("shop/good-outputs", lambda secret: secret["data"].pop("plain"))
        await passes(site, aviary, "drift")
        with database.server.failing("find", code=13):
            await passes(site, aviary, "queries refused")
        with database.server.failing("find", disconnect=True):
            await passes(site, aviary, "connection cut")
        database.collections["installations"].delete_many({})
        report = await passes(site, aviary, "empty database")
        assert report is not None
        assert held_hashes(report)
        aviary.hear("gc", await site.once(approved=held_hashes(report), deletions_only=True))
        assert site.in_cluster() == {
            "shop/foreign-outputs": {"theirs": aviary.canaries["a secret of others"].encode()}
        }

    hear_sinks(site, aviary)
    hear_output(aviary, caplog, capfd)
    assert any(record.levelno == logging.DEBUG and "pymongo" in record.name for record in caplog.records)
    assert len(aviary.canaries) > 25
    assert {where.partition(" ")[0] for where, _ in aviary.said} >= {"log", "audit", "secret", "file", "gc"}
    assert aviary.found() == set()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pymongo, cut off
@pytest.mark.usefixtures("short_of_patience")
async def test_no_credential_is_anywhere(site, database, aviary, caplog, capfd):
    working = site.source
    password = quote(aviary.plant("the password of the database"), safe="")
    url = aviary.folder / "url"
    with everything_said(caplog):
        for where, host in (
            ("login refused", f"127.0.0.1:{database.server.port}"),
            ("nobody there", "127.0.0.1:1"),
            ("no such port", "127.0.0.1:99999"),
            ("no such host", "[::"),
        ):
            url.write_text(f"mongodb://user:{password}@{host}/porter?authSource=admin")
            site.source = {**working, "url": {"file": str(url)}}
            try:
                await passes(site, aviary, where)
            except (ConfigError, SourceError) as error:
                aviary.caught(where, error)
        site.source = working
        for where, server in (
            ("token refused", site.cluster.url),
            ("API server gone", "https://127.0.0.1:1"),
        ):
            kubeconfig = json.loads(site.cluster.kubeconfig("syncer").read_text())
            token = "".join(letter for letter in aviary.plant(f"{where}: the token") if letter in _LETTERS)
            aviary.canaries[f"{where}: the token"] = token
            kubeconfig["users"][0]["user"]["token"] = token
            kubeconfig["clusters"][0]["cluster"]["server"] = server
            path = aviary.folder / "other.kubeconfig"
            path.write_text(json.dumps(kubeconfig))
            document = site.document()
            document["sinks"][0]["kubeconfig"] = str(path)
            site.settings = {**site.settings, "sinks": document["sinks"]}
            report = await passes(site, aviary, where)
            assert report is not None
            assert [sink.sink for sink in report.sinks if sink.failure] == ["cluster"]
    hear_sinks(site, aviary)
    hear_output(aviary, caplog, capfd)
    assert len([where for where, _ in aviary.said if "the error" in where]) >= 4
    assert aviary.found() == set()


def test_a_secret_in_the_configuration_is_refused_without_being_quoted(site, aviary):
    password = aviary.plant("a literal password")
    site.source = {**site.source, "url": f"mongodb://user:{quote(password, safe='')}@127.0.0.1/porter"}
    path = aviary.folder / "literal.yaml"
    path.write_text(json.dumps(site.document()))
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    aviary.caught("configuration", caught.value)
    assert aviary.found() == set()
