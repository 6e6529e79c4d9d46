"""Workloads are restarted when the content of a Secret they read changed, and at no other time.

On a real kube-apiserver, without controllers: a restart is another pod template, and no pod ever runs.
(A Deployment's generation tells nothing: any annotation makes a new one.) When restarts are asked for is
the engine's affair (tests/unit/engine).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

import pytest

from backends.clients.kubernetes import KubernetesClient
from backends.contract import Restarts, RestartWish, Workloads
from backends.errors import Forbidden, PreconditionFailed, Refused, SinkError, SinkUnavailable
from backends.kubernetes_secret.options import KubernetesSinkOptions
from backends.kubernetes_secret.restarts import note, restarted
from backends.kubernetes_secret.sink import KubernetesSecretSink

KINDS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
SHOP = (Workloads(kind="Deployment", name="shop"),)


def rules(verbs: Iterable[str] = ("list", "patch"), resources: Iterable[str] = KINDS.values()) -> list[dict]:
    return [{"apiGroups": ["apps"], "resources": [*resources], "verbs": [*verbs]}]


@pytest.fixture
def options(kube_cluster, kube_namespace) -> KubernetesSinkOptions:
    return KubernetesSinkOptions(kubeconfig=kube_cluster.kubeconfig("syncer"), namespaces=(kube_namespace,))


@pytest.fixture
async def sink(options, kube_cluster, kube_namespace) -> AsyncIterator[KubernetesSecretSink]:
    kube_cluster.grant("syncer", rules(), kube_namespace)
    async with KubernetesSecretSink(options) as opened:
        yield opened


class Cluster:
    """The administrator's view of workloads."""

    def __init__(self, cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def make(self, kind: str = "Deployment", name: str = "shop", *, namespace: str = "", **fields) -> dict:
        """A workload whose pods have labels and annotations of their own."""
        template = {
            "metadata": {"labels": {"pod": name}, "annotations": {"theirs": "kept"}},
            "spec": {"containers": [{"name": "main", "image": "shop:1"}]},
        }
        spec = {"selector": {"matchLabels": {"pod": name}}, "template": template, **fields.pop("spec", {})}
        metadata = {"namespace": namespace or self.namespace, "name": name, **fields}
        manifest = {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}
        return self.cluster.admin.apply(manifest)

    def get(self, kind: str = "Deployment", name: str = "shop", *, namespace: str = "") -> dict:
        found = self.cluster.admin.get("apps/v1", kind, name, namespace or self.namespace)
        assert found is not None
        return found

    def restarted(self, kind: str = "Deployment", name: str = "shop", *, namespace: str = "") -> bool:
        """Whether its pods are to be replaced: the pod template is not what it was made with."""
        template = self.get(kind, name, namespace=namespace)["spec"]["template"]["metadata"]
        return template["annotations"] != {"theirs": "kept"}

    def requests(self, since: int) -> list[tuple[str, str]]:
        """What the sink asked of workloads: verb and resource."""
        events = self.cluster.audit.events(since=since, user="syncer")
        return [(event.verb, event.resource) for event in events if event.raw["objectRef"].get("apiGroup")]

    def wish(
        self,
        content_id: str = "one",
        workloads: Iterable[Workloads] = SHOP,
        *,
        secret: str = "orders",
        before: str = "",
    ) -> RestartWish:
        address = f"{self.namespace}/{secret}"
        return RestartWish(address=address, content_id=content_id, workloads=tuple(workloads), before=before)


@pytest.fixture
def world(kube_cluster, kube_namespace) -> Cluster:
    return Cluster(kube_cluster, kube_namespace)


async def restart(sink: Restarts, *wishes: RestartWish) -> list[str]:
    return [workload async for workload in sink.restart(wishes)]


async def failing(restarts: AsyncIterator[str]) -> tuple[list[str], SinkError]:
    """What was restarted all the same, and the failure."""
    found: list[str] = []
    try:
        async for workload in restarts:
            found.append(workload)  # noqa: PERF401  # what a comprehension had would be lost with it
    except SinkError as error:
        return found, error
    pytest.fail("nothing failed")


def notes(workload: dict) -> tuple[str | None, str | None]:
    """The content id noted at the workload, and the one on its pod template."""
    key = note(f"{workload['metadata']['namespace']}/orders")
    template = workload["spec"]["template"]["metadata"]["annotations"]
    return workload["metadata"].get("annotations", {}).get(key), template.get(key)


def test_the_sink_says_that_it_restarts(options):
    sink = KubernetesSecretSink(options)
    assert isinstance(sink, Restarts)
    assert sink.capabilities.restarts


# --- when a workload is restarted


@pytest.mark.parametrize("kind", KINDS)
async def test_a_workload_seen_for_the_first_time_is_noted_and_not_restarted(world, sink, kind):
    before = world.make(kind)
    assert await restart(sink, world.wish("one", [Workloads(kind=kind, name="shop")])) == []
    after = world.get(kind)
    assert after["spec"] == before["spec"]
    assert not world.restarted(kind)
    assert notes(after) == ("one", None)


@pytest.mark.parametrize("kind", KINDS)
async def test_changed_content_restarts_once(world, sink, kind):
    workloads = [Workloads(kind=kind, name="shop")]
    world.make(kind)
    await restart(sink, world.wish("one", workloads))
    assert await restart(sink, world.wish("two", workloads)) == [f"{kind} {world.namespace}/shop"]
    assert world.restarted(kind)
    assert notes(world.get(kind)) == ("two", "two")


async def test_the_same_content_again_writes_nothing(world, sink, kube_cluster):
    world.make()
    await restart(sink, world.wish("one"))
    await restart(sink, world.wish("two"))
    since = kube_cluster.audit.position()
    assert await restart(sink, world.wish("two", before="one")) == []
    assert world.requests(since) == [("list", "deployments")]
    assert world.restarted()


async def test_a_workload_newer_than_the_first_sync_is_restarted_by_the_first_change(world, sink):
    world.make()
    assert await restart(sink, world.wish("two", before="one")) == [f"Deployment {world.namespace}/shop"]
    assert world.restarted()
    assert notes(world.get()) == ("two", "two")


async def test_several_secrets_of_one_workload_are_one_restart(world, sink, kube_cluster):
    by_label = [Workloads(kind="Deployment", selector={"app": "shop"})]
    world.make(labels={"app": "shop"})
    first = [world.wish("one", secret=name) for name in ("orders", "stock")]
    await restart(sink, *first, world.wish("one", by_label, secret="prices"))
    since = kube_cluster.audit.position()
    changed = [world.wish("two", secret="orders"), world.wish("two", by_label, secret="prices")]
    assert await restart(sink, *changed, world.wish("one", secret="new")) == [
        f"Deployment {world.namespace}/shop"
    ]
    assert world.requests(since) == [("list", "deployments"), ("patch", "deployments")]
    assert world.restarted()
    annotations = world.get()["metadata"]["annotations"]
    found = [annotations[note(f"{world.namespace}/{name}")] for name in ("orders", "stock", "prices", "new")]
    assert found == ["two", "one", "two", "one"]


async def test_what_others_put_on_a_workload_stays(world, sink):
    world.make(annotations={"theirs": "too"}, labels={"app": "shop"})
    await restart(sink, world.wish("two", before="one"))
    after = world.get()
    assert after["metadata"]["annotations"]["theirs"] == "too"
    assert after["metadata"]["labels"] == {"app": "shop"}
    assert after["spec"]["template"]["metadata"]["annotations"]["theirs"] == "kept"


async def test_a_paused_deployment_gets_its_new_template_and_stays_paused(world, sink):
    world.make(spec={"paused": True})
    await restart(sink, world.wish("two", before="one"))
    assert notes(world.get()) == ("two", "two")
    assert world.get()["spec"]["paused"] is True


# --- which workloads


async def test_a_selector_takes_the_workloads_with_all_its_labels(world, sink, kube_cluster):
    other = f"{world.namespace}-other"
    kube_cluster.admin.create_namespace(other)
    labels = {"app": "shop", "tier": "web"}
    for name, theirs in {
        "one": labels,
        "two": labels | {"more": "x"},
        "half": {"app": "shop"},
        "none": {},
    }.items():
        world.make(name=name, labels=theirs)
    world.make("StatefulSet", "one", labels=labels)
    world.make(name="one", namespace=other, labels=labels)
    wish = world.wish("two", [Workloads(kind="Deployment", selector=labels)], before="one")
    found = await restart(sink, wish)
    assert sorted(found) == [f"Deployment {world.namespace}/{name}" for name in ("one", "two")]
    assert [name for name in ("one", "two", "half", "none") if world.restarted(name=name)] == ["one", "two"]
    assert not world.restarted("StatefulSet", "one")
    assert not world.restarted(name="one", namespace=other)


async def test_several_names_and_selectors_are_told_apart_in_one_list(world, sink, kube_cluster):
    for name in ("shop", "cart", "stock"):
        world.make(name=name, labels={"app": name})
    wishes = [
        world.wish("two", SHOP, before="one"),
        world.wish("two", [Workloads(kind="Deployment", selector={"app": "cart"})], secret="b", before="one"),
    ]
    since = kube_cluster.audit.position()
    assert sorted(await restart(sink, *wishes)) == [
        f"Deployment {world.namespace}/{name}" for name in ("cart", "shop")
    ]
    assert world.requests(since).count(("list", "deployments")) == 1
    assert not world.restarted(name="stock")
    assert note(f"{world.namespace}/b") not in world.get()["metadata"]["annotations"]


async def test_a_workload_that_does_not_exist_is_passed_over(world, sink):
    world.make(name="another")
    assert await restart(sink, world.wish("two", before="one")) == []
    assert not world.restarted(name="another")


async def test_a_workload_that_is_being_deleted_is_left_alone(world, sink, kube_cluster):
    world.make(finalizers=["example.com/slow"])
    kube_cluster.admin.delete("apps/v1", "Deployment", "shop", world.namespace)
    going = world.get()
    assert await restart(sink, world.wish("two", before="one")) == []
    assert world.get() == going


# --- others writing at the same time


class Meddled(KubernetesClient):
    """Somebody does something just before each patch; all answers are kept."""

    def __init__(self, options: KubernetesSinkOptions, meddle: Callable[[], object]) -> None:
        super().__init__(options)
        self.meddle = meddle
        self.answers: list[dict] = []

    async def list_pages(self, path, params, *, metadata_only=False):
        async for page in super().list_pages(path, params, metadata_only=metadata_only):
            self.answers += page
            yield page

    async def patch(self, path, body):
        self.meddle()
        answer = await super().patch(path, body)
        self.answers.append(answer)
        return answer


@pytest.fixture
def granted(kube_cluster, kube_namespace, options) -> KubernetesSinkOptions:
    kube_cluster.grant("syncer", rules(), kube_namespace)
    return options


async def restart_by(client: KubernetesClient, *wishes: RestartWish) -> list[str]:
    return [workload async for workload in restarted(client, wishes)]


async def test_a_concurrent_change_is_kept_and_the_restart_done_once(world, granted):
    world.make()
    changes = iter([{"by": "another"}, {"by": "a-third"}])

    def meddle() -> None:
        if (labels := next(changes, None)) is not None:
            world.make(labels=labels)

    async with Meddled(granted, meddle) as client:
        found = await restart_by(client, world.wish("two", before="one"))
    assert found == [f"Deployment {world.namespace}/shop"]
    assert world.restarted()
    assert world.get()["metadata"]["labels"] == {"by": "a-third"}


async def test_what_another_has_restarted_meanwhile_is_not_restarted_again(world, granted):
    world.make()
    wish = world.wish("two", before="one")

    class Overtaken(KubernetesClient):
        async def patch(self, path, body):
            async with KubernetesClient(granted) as other:
                assert await restart_by(other, wish) == [f"Deployment {world.namespace}/shop"]
            return await super().patch(path, body)

    async with Overtaken(granted) as client:
        assert await restart_by(client, wish) == []
    assert notes(world.get()) == ("two", "two")


async def test_a_workload_that_is_gone_by_then_is_passed_over(world, granted, kube_cluster):
    world.make()

    def meddle() -> None:
        kube_cluster.admin.delete("apps/v1", "Deployment", "shop", world.namespace)

    async with Meddled(granted, meddle) as client:
        assert await restart_by(client, world.wish("two", before="one")) == []


async def test_a_workload_that_never_rests_is_given_up_and_holds_up_no_other(world, granted):
    for name in ("shop", "zebra"):
        world.make(name=name, labels={"app": "shop"})
    changes = iter(range(4))

    def meddle() -> None:
        if (number := next(changes, None)) is not None:
            world.make(labels={"app": "shop", "number": str(number)})

    async with Meddled(granted, meddle) as client:
        workloads = [Workloads(kind="Deployment", selector={"app": "shop"})]
        found, error = await failing(restarted(client, [world.wish("two", workloads, before="one")]))
    assert isinstance(error, PreconditionFailed)
    assert "shop keeps changing" in error.reason
    assert found == [f"Deployment {world.namespace}/zebra"]
    assert not world.restarted()


async def test_of_workloads_the_metadata_alone_is_read(world, granted):
    """A pod template may hold values in its environment."""
    world.make()
    async with Meddled(granted, lambda: None) as client:
        await restart_by(client, world.wish("two", before="one"))
    assert len(client.answers) == 2
    assert not any("spec" in answer for answer in client.answers)


# --- what the cluster does not allow


@pytest.mark.parametrize(
    ("granted_rules", "missing"),
    [
        ([*rules(resources=["deployments"]), *rules(verbs=["list"])], "patch"),
        (rules(resources=["deployments"]), "list"),
    ],
)
async def test_a_missing_right_is_named_and_holds_up_no_other_kind(
    world, options, kube_cluster, granted_rules, missing
):
    kube_cluster.grant("syncer", granted_rules, world.namespace)
    for kind in KINDS:
        world.make(kind)
    async with KubernetesSecretSink(options) as sink:
        workloads = [Workloads(kind=kind, name="shop") for kind in ("StatefulSet", "Deployment")]
        found, error = await failing(sink.restart([world.wish("two", workloads, before="one")]))
    assert found == [f"Deployment {world.namespace}/shop"]
    assert type(error) is Forbidden
    assert error.reason == f"the right to {missing} statefulsets in namespace {world.namespace} is missing"
    assert not world.restarted("StatefulSet")


async def test_a_workload_the_cluster_refuses_holds_up_no_other(world, sink):
    """Here one whose annotations are full."""
    world.make(name="full", labels={"app": "shop"}, annotations={"theirs": "x" * (256 * 1024 - 20)})
    world.make(labels={"app": "shop"})
    workloads = [Workloads(kind="Deployment", selector={"app": "shop"})]
    found, error = await failing(sink.restart([world.wish("two", workloads, before="one")]))
    assert found == [f"Deployment {world.namespace}/shop"]
    assert isinstance(error, Refused)


async def test_a_server_that_does_not_answer_is_asked_once(world, granted):
    """And not once for each namespace and kind."""

    class Down(KubernetesClient):
        asked = 0

        async def list_pages(self, path, params, *, metadata_only=False):
            self.asked += 1
            raise SinkUnavailable("down")
            yield []

    async with Down(granted) as client:
        workloads = [Workloads(kind=kind, name="shop") for kind in KINDS]
        with pytest.raises(SinkUnavailable):
            await restart_by(client, world.wish("two", workloads))
    assert client.asked == 1
