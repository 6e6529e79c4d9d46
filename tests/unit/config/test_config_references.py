"""Secrets in the configuration are references, and what a database URL may say.

Left out: whether MongoDB's driver takes the URL.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncer.config.model import MongoSourceConfig
from syncer.config.urls import check_literal_text, check_mongodb_url

if TYPE_CHECKING:
    from conftest import Loader

CANARY = "canary-9c1d"
NOT_LITERAL = "secrets are never literals in the file: use {env: NAME} or {file: PATH}"
WithLine = Callable[[int, str], str]


def source(url: str) -> str:
    return f"source: {{kind: mongodb, url: {url}, secrets: {{kind: none}}}}"


def loaded_url(load: Loader, text: str, **environ: str) -> str:
    found = load(text, **environ).source
    assert isinstance(found, MongoSourceConfig)
    return found.url.reveal().decode()


def test_a_url_comes_from_the_environment_a_file_or_the_text(load: Loader, with_line: WithLine) -> None:
    (load.folder / "url").write_text("mongodb://app:pw@db/porter\r\n")
    assert (
        loaded_url(load, with_line(2, source("{env: URL}")), URL="mongodb://a:b@c/d") == "mongodb://a:b@c/d"
    )
    assert loaded_url(load, with_line(2, source("{file: url}"))) == "mongodb://app:pw@db/porter"
    assert loaded_url(load, with_line(2, source("mongodb+srv://app@db/"))) == "mongodb+srv://app@db/"


def test_a_resolved_url_prints_nowhere(load: Loader, with_line: WithLine) -> None:
    config = load(with_line(2, source("{env: URL}")), URL=f"mongodb://a:{CANARY}@c")
    assert CANARY not in f"{config!r}{config!s}"
    with pytest.raises(TypeError):
        pickle.dumps(config.source)


@pytest.mark.bad_input(41)
@pytest.mark.parametrize(
    "url",
    [
        f"mongodb://app:{CANARY}@db/porter",
        f"mongodb://app:{CANARY}/x@db/porter",
        f"mongodb+srv://app:{CANARY}@db",
        f"mongodb://db/?tlsCertificateKeyFilePassword={CANARY}",
        f"mongodb://app@db/?authMechanismProperties=AWS_SESSION_TOKEN:{CANARY}",
    ],
)
def test_a_literal_password_is_refused_and_not_repeated(load: Loader, with_line: WithLine, url: str) -> None:
    (problem,) = load.problems(with_line(2, source(f"'{url}'")))
    assert (problem.line, problem.field, problem.message) == (2, "source.url", NOT_LITERAL)
    assert CANARY not in str(problem)


@pytest.mark.bad_input(41)
def test_a_literal_password_in_a_template_is_refused(load: Loader, with_line: WithLine) -> None:
    template = f"'mysql://app:{CANARY}@{{host}}/'"
    (problem,) = load.problems(
        with_line(
            4, f"rules: [{{name: all, targets: [{{sink: out, keys: {{dsn: {{template: {template}}}}}}}]}}]"
        )
    )
    assert (problem.line, problem.field) == (4, "rules[0].targets[0].keys.dsn.template")
    assert problem.message == NOT_LITERAL


@pytest.mark.parametrize(
    "text", ["mysql://app:@:/", "mysql://app@db:3306/a:b@c", "http://db:3306/", "host:port@x", "a://b?u:p@h"]
)
def test_a_text_without_a_literal_password_is_fine(text: str) -> None:
    check_literal_text(text)


@pytest.mark.parametrize("text", ["x mysql://app:pw@db/", "amqp://a:b@c", "{{mysql://:pw@db"])
def test_a_url_with_a_password_within_a_text_is_found(text: str) -> None:
    with pytest.raises(ValueError, match="never literals"):
        check_literal_text(text)


@pytest.mark.parametrize("literal", [True, False])
@pytest.mark.parametrize(
    "url",
    [
        "mongodb://db", "MONGODB://a:1,b:2/porter?replicaSet=x", "mongodb://app@[::1]:27017/porter?tls=true",
        "mongodb://app:@db/?readPreference=primary&tlsInsecure=false", "mongodb://%2Ftmp%2Fmongodb.sock/",
    ],
)  # fmt: skip
def test_ordinary_urls_pass(url: str, literal: bool) -> None:
    check_mongodb_url(url, literal)


@pytest.mark.bad_input(44)
@pytest.mark.parametrize(
    "option",
    ["tlsInsecure=true", "tlsAllowInvalidCertificates=true", "tls=true;TLSALLOWINVALIDHOSTNAMES=True"],
)
def test_tls_without_checks_is_refused_wherever_the_url_comes_from(
    load: Loader, with_line: WithLine, option: str
) -> None:
    (problem,) = load.problems(with_line(2, source("{env: URL}")), URL=f"mongodb://a:{CANARY}@db/?{option}")
    assert (problem.line, problem.field) == (2, "source.url")
    assert "certificates are always checked" in problem.message
    assert CANARY not in problem.message


@pytest.mark.fault(9)
def test_reading_from_a_secondary_is_refused(load: Loader, with_line: WithLine) -> None:
    url = "mongodb://db/?readPreference=secondaryPreferred"
    (problem,) = load.problems(with_line(2, source(f"'{url}'")))
    assert problem.field == "source.url"
    assert "readPreference must be primary" in problem.message


@pytest.mark.bad_input(39)
@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ("5", "source.url", "should be text without a secret in it, {env: NAME} or {file: PATH}"),
        (
            "{env: A, file: b}",
            "source.url",
            "should be text without a secret in it, {env: NAME} or {file: PATH}",
        ),
        ("{enf: A}", "source.url", "should be text without a secret in it, {env: NAME} or {file: PATH}"),
        ("{env: 5}", "source.url.env", "should be text (put it in quotes)"),
        ("{env: NOT_THERE}", "source.url", "the environment variable NOT_THERE is not set"),
        ("{env: EMPTY}", "source.url", "the environment variable EMPTY is empty"),
        ("http://db", "source.url", "should begin with mongodb:// or mongodb+srv://"),
    ],
)
def test_references_that_lead_nowhere(
    load: Loader, with_line: WithLine, given: str, field: str, message: str
) -> None:
    (problem,) = load.problems(with_line(2, source(given)), EMPTY="")
    assert (problem.line, problem.field, problem.message) == (2, field, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n", "is empty"), (b"\xff" + CANARY.encode(), "is not UTF-8 text"), (b"x" * 70_000, "is larger than 65536 bytes")],
)  # fmt: skip
def test_files_that_hold_no_url(load: Loader, with_line: WithLine, content: bytes, message: str) -> None:
    (load.folder / "url").write_bytes(content)
    (problem,) = load.problems(with_line(2, source("{file: ./url}")))
    assert (problem.field, problem.message) == ("source.url", f"{load.folder / 'url'} {message}")


def test_a_file_that_cannot_be_read(load: Loader, with_line: WithLine) -> None:
    (problem,) = load.problems(with_line(2, source("{file: ~/nothing}")), HOME=str(load.folder))
    missing: Path = load.folder / "nothing"
    assert problem.message == f"{missing} cannot be read: No such file or directory"
