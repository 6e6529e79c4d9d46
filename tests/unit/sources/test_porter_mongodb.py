"""Which MongoDB URLs are accepted, and what leaves the store when a server does not answer.

Connects to nobody, or to a port where nobody listens. Excludes a server that answers
(functional/test_mongodb_source).
"""

from __future__ import annotations

import gc
import logging
import traceback

import pytest

from backends.contract import FindingLevel
from syncer.core.errors import SourceError, SourceRefused, SourceUnavailable
from syncer.core.model import InstallationKey
from syncer.sources.porter import mongodb
from syncer.sources.porter import store as ask
from syncer.sources.porter.mongodb import MongoStore
from syncer.sources.porter.store import Query


@pytest.mark.parametrize(
    ("url", "identity"),
    [
        ("mongodb://db.example", "mongodb:db.example:27017/porter"),
        ("mongodb://db.example/", "mongodb:db.example:27017/porter"),
        ("mongodb://u:p4ss@DB.example:27017/porter?tls=true", "mongodb:db.example:27017/porter"),
        ("mongodb://b.example,a.example:1/other", "mongodb:a.example:1,b.example:27017/other"),
        ("mongodb+srv://u:p4ss@cluster.example/x", "mongodb:cluster.example/x"),
        ("mongodb://[::1]:5/x", "mongodb:[::1]:5/x"),
        ("mongodb://[::1]/x", "mongodb:[::1]:27017/x"),
        ("mongodb://u:a%2Fb@db.example/x?authSource=admin", "mongodb:db.example:27017/x"),
    ],
)
def test_hosts_and_database_identify_it_and_nothing_else_does(url, identity):
    assert MongoStore(url).identity == identity


@pytest.mark.fault(9)
@pytest.mark.parametrize(
    "option", ["readPreference=secondary", "readpreference=secondaryPreferred", "readConcernLevel=local"]
)
def test_a_url_that_asks_for_reads_that_may_be_undone_is_refused(option):
    with pytest.raises(SourceRefused, match=r"only (primary|majority) reads"):
        MongoStore(f"mongodb://u:p4ss@db.example/porter?{option}")


def test_a_url_that_asks_for_the_reads_there_are_is_accepted():
    MongoStore("mongodb://db.example/?readPreference=primary&readConcernLevel=majority")


@pytest.mark.parametrize("url", ["", "db.example", "http://db.example", "postgres://x"])
def test_what_is_no_mongodb_url_is_refused(url):
    with pytest.raises(SourceRefused, match="does not begin with"):
        MongoStore(url)


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://u:p4ss@db.example:port/x",
        "mongodb://u:p4ss@x@db.example/x",
        "mongodb://u:p4ss@db.example/x?authMechanism=nonsense",
        "mongodb://u:p4ss@db.example/x?tls=true&tlsInsecure=true&tlsAllowInvalidCertificates=true",
        "mongodb://u:p4ss@db.example/a$b",
        "mongodb://u:p4ss@/x",
    ],
)
async def test_a_url_pymongo_does_not_take_is_refused_without_quoting_it(url):
    with pytest.raises(SourceRefused) as caught:
        async with MongoStore(url) as store:
            await store.find(ask.schema())
    assert "p4ss" not in "".join(traceback.format_exception(caught.value))


async def test_a_ca_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceRefused):
        async with MongoStore("mongodb://db.example", ca_file=str(tmp_path / "gone.pem")):
            pass


@pytest.mark.fault(1)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pymongo, closed while it connects
async def test_a_server_that_is_down_is_unavailable_and_named_without_credentials(monkeypatch):
    monkeypatch.setattr(mongodb, "SELECTION_TIMEOUT", 0.05)
    async with MongoStore("mongodb://u:p4ss@127.0.0.1:1/x") as store:
        with pytest.raises(SourceUnavailable) as caught:
            await store.find(ask.schema())
        findings = await store.check()
    assert "p4ss" not in "".join(traceback.format_exception(caught.value))
    assert [finding.level for finding in findings] == [FindingLevel.ERROR]
    gc.collect()  # the socket pymongo forgot is warned of here, and not in some other test


@pytest.mark.parametrize(
    ("info", "level", "detail"),
    [
        ({}, FindingLevel.WARNING, "no login"),
        (None, FindingLevel.WARNING, "no login"),
        (
            {"authenticatedUsers": [{}], "authenticatedUserPrivileges": [{"actions": ["find"]}]},
            FindingLevel.OK,
            "only read",
        ),
        (
            {
                "authenticatedUsers": [{}],
                "authenticatedUserPrivileges": [{"actions": ["find"]}, {"actions": ["find", "insert"]}],
                "authenticatedUserRoles": [{"role": "readWrite", "db": "porter"}],
            },
            FindingLevel.WARNING,
            "readWrite@porter",
        ),
    ],
)
def test_rights_to_write_are_warned_of_and_named(info, level, detail):
    finding = mongodb._judge_rights(info)
    assert finding.level is level
    assert detail in finding.detail


def test_conditions_follow_porters_indexes():
    one, two = InstallationKey("shop", "a"), InstallationKey("shop", "b")
    query = ask.succeeded_results([one, two])
    assert mongodb._filter(query) == {
        "status": {"$in": ["succeeded"]},
        "namespace": "shop",
        "installation": {"$in": ["a", "b"]},
    }
    several = ask.installations([one, InstallationKey("", "c")])
    assert mongodb._filter(several) == {
        "$or": [{"namespace": "shop", "name": {"$in": ["a"]}}, {"namespace": "", "name": {"$in": ["c"]}}]
    }


def test_no_installation_is_not_every_installation():
    assert mongodb._filter(ask.runs([])) != {}
    assert mongodb._filter(Query(collection="runs", fields=())) == {}


def test_commands_stay_out_of_the_logs_at_every_level(caplog):
    MongoStore("mongodb://db.example")
    logger = logging.getLogger("pymongo.command")
    with caplog.at_level(logging.DEBUG, logger="pymongo.command"), caplog.at_level(logging.DEBUG):
        logger.debug("find %s", "s3cr3t")
        logger.warning("seen")
    assert caplog.messages == ["seen"]


def test_every_failure_of_the_driver_is_a_source_error():
    from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError  # noqa: PLC0415

    for error in (
        AutoReconnect("p4ss"),
        OperationFailure("p4ss", 13),
        OperationFailure("p4ss", 18),
        PyMongoError("p4ss"),
        TimeoutError(),
        OSError("p4ss"),
        ValueError("p4ss"),
    ):
        with pytest.raises(SourceError) as caught, mongodb._translated():
            raise error
        assert "p4ss" not in str(caught.value)
        assert caught.value.__suppress_context__
