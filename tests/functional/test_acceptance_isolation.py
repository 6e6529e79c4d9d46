"""One dead sink holds up no other, and how much is asked does not grow with what is there.

Simulates an API server that is gone, hangs, or refuses everything. Excludes speed (bench).
"""

from __future__ import annotations

import pytest

from syncer.core.model import InstallationKey
from tests.functional.acceptance import WRITER, DumpFolder, MongoDatabase, Site, actions, porter_documents
from tests.functional.test_acceptance_fixtures import IN_CLUSTER, IN_FILES, SPACES
from tests.servers.kubernetes import KubeCluster
from tests.unit.sources.porter_world import PLAIN, SENSITIVE, World, bundle

RUNS = 10


@pytest.fixture
def cluster():
    """One of this test's own, to be stopped."""
    found = KubeCluster.start()
    yield found
    found.stop()


def fixtures_site(cluster, prefix, tmp_path) -> Site:
    database = DumpFolder(folder=tmp_path / "dump")
    database.publish(porter_documents())
    return Site(folder=tmp_path, cluster=cluster, prefix=prefix, source=database.settings, spaces=SPACES)


@pytest.mark.fault(25)
async def test_with_the_api_server_gone_files_converge_and_it_catches_up_later(
    kube_cluster, cluster, tmp_path
):
    site = fixtures_site(cluster, "own", tmp_path)
    cluster.stop_apiserver()
    report = await site.once()
    assert report.failed
    assert {sink.sink: bool(sink.failure) for sink in report.sinks} == {"cluster": True, "files": False}
    assert [sink for sink, _ in site.watcher.failures] == ["cluster"]
    assert site.in_files() == IN_FILES
    stamps = site.stamps()
    cluster.start_apiserver()
    report = await site.once()
    assert not report.failed
    assert site.in_cluster() == IN_CLUSTER
    assert site.stamps() == stamps


async def test_an_api_server_that_hangs_is_given_up_and_files_converge(kube_cluster, cluster, tmp_path):
    site = fixtures_site(cluster, "own", tmp_path)
    document = site.document()
    document["sinks"][0]["requestTimeout"] = "300ms"
    site.settings = {"sinks": document["sinks"]}
    with cluster.paused():
        report = await site.once()
    assert {sink.sink: bool(sink.failure) for sink in report.sinks} == {"cluster": True, "files": False}
    assert site.in_files() == IN_FILES


@pytest.mark.fault(35)
async def test_an_account_without_rights_fails_its_sink_only(kube_cluster, kube_namespace, tmp_path):
    site = fixtures_site(kube_cluster, kube_namespace, tmp_path)
    document = site.document()
    document["sinks"][0]["kubeconfig"] = str(kube_cluster.kubeconfig("nobody"))
    site.settings = {"sinks": document["sinks"]}
    report = await site.once()
    (failure,) = [sink.failure for sink in report.sinks if sink.failure]
    assert "secrets" in failure
    assert site.secrets() == {}
    assert site.in_files() == IN_FILES


@pytest.mark.fault(35)
async def test_an_account_that_may_not_write_says_so_for_each_secret(kube_cluster, kube_namespace, tmp_path):
    site = fixtures_site(kube_cluster, kube_namespace, tmp_path)
    document = site.document("reader")
    site.settings = {"sinks": document["sinks"]}
    report = await site.once()
    refused = [entry for entry in report.entries if entry.error]
    assert {entry.subject.address for entry in refused} == {site.address(path) for path in IN_CLUSTER}
    assert report.failed
    assert site.secrets() == {}
    assert site.in_files() == IN_FILES


# --- counts --------------------------------------------------------------------------------


def history(count: int, folder) -> World:
    """Installations with ten runs each: four plain outputs, and one in the secret store."""
    world, plain = World(), [f"plain{number}" for number in range(4)]
    declares = bundle(**dict.fromkeys(plain, PLAIN), sealed=SENSITIVE)
    for number in range(count):
        key = InstallationKey("shop", f"db{number}")
        world.installation(key)
        for run in range(RUNS):
            text = f"{number}-{run}".encode()
            written = world.run(
                dict.fromkeys([*plain, "sealed"], text),
                key=key,
                action="upgrade" if run else "install",
                declares=declares,
            )
            written["sealed"].update(value=None, key=f"{written['run']['_id']}-sealed")
            (folder / written["sealed"]["key"]).write_bytes(text)
    return world


async def queries_of_both_passes(site: Site, database: MongoDatabase, count: int, folder) -> tuple[int, int]:
    """How many queries a cold pass and one that changes nothing make."""
    database.publish(history(count, folder).documents)
    database.server.counters(database.name, reset=True)
    assert actions(await site.once()) == {"create"}
    cold = database.server.counters(database.name, reset=True)
    assert cold.returned("outputs", "value") == 5 * count * len(site.document()["sinks"])
    before, position = site.state(), site.cluster.audit.position()
    hide(folder)
    assert actions(await site.once()) == {"keep"}
    warm = database.server.counters(database.name, reset=True)
    assert warm.returned("outputs", "value") == 0
    assert site.state() == before
    assert site.cluster.audit.writes(since=position, user=WRITER) == ()
    assert len(site.cluster.audit.events(since=position, user=WRITER)) == 1, "one page holds them all"
    return queries(cold), queries(warm)


@pytest.mark.parametrize("count", [1, 16, 17, 40])
async def test_a_first_pass_into_an_empty_namespace_creates_all(
    kube_cluster, kube_namespace, tmp_path, count
):
    (tmp_path / "secrets").mkdir()
    database = DumpFolder(folder=tmp_path / "dump")
    database.publish(history(count, tmp_path / "secrets").documents)
    store = {"kind": "filesystem", "path": str(tmp_path / "secrets")}
    source = {**database.settings, "secrets": store}
    site = Site(folder=tmp_path, cluster=kube_cluster, prefix=kube_namespace, source=source)
    report = await site.once()
    assert site.watcher.failures == []
    assert actions(report) == {"create"}
    assert len(site.in_cluster()) == len(site.in_files()) == count


def queries(counters) -> int:
    return counters.commands.get("find", 0) + counters.commands.get("aggregate", 0)


def hide(folder) -> None:
    """Whoever asks the secret store from now on gets an error, not a value."""
    folder.rename(folder.parent / f"{folder.name}-hidden")


async def test_queries_grow_with_batches_and_a_pass_in_sync_fetches_nothing(
    kube_cluster, kube_namespace, tmp_path, mongo_server, mongo_url
):
    database, asked = MongoDatabase(server=mongo_server, url=mongo_url), []
    for size in (20, 60):
        folder = tmp_path / f"size{size}"
        secrets = folder / "secrets"
        secrets.mkdir(parents=True)
        source = {**database.settings, "secrets": {"kind": "filesystem", "path": str(secrets)}}
        site = Site(folder=folder, cluster=kube_cluster, prefix=f"{kube_namespace}-{size}", source=source)
        asked.append(await queries_of_both_passes(site, database, size, secrets))
    assert asked[0] == asked[1]
    cold, warm = asked[0]
    assert warm <= 10
    assert cold == warm + 2, "one read of values for each sink"
