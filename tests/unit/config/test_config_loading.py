"""What a good file comes to: defaults, paths, sources, sinks, rules.

Left out: bad files (test_config_refusals), references (test_config_references).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backends.clients.kubernetes_options import KubernetesOptions
from backends.contract import Layout
from syncer.config.loading import load_config_from_environment
from syncer.config.model import (
    DumpSourceConfig,
    FilesystemSecretsConfig,
    KubernetesSecretsConfig,
    MongoSourceConfig,
    NoSecretsConfig,
    PorterSourceConfig,
)
from syncer.core.model import (
    ConflictPolicy,
    DeletionPolicy,
    FromOutput,
    FromTemplate,
    GuardLimits,
    KeyStyle,
    Match,
    OnUninstall,
    OutputFilter,
    Placeholder,
    Policy,
    Rule,
    Sensitivity,
    Target,
    UpdatePolicy,
)

if TYPE_CHECKING:
    from conftest import Loader

WithLine = Callable[[int, str], str]

EVERYTHING = """\
instance: prod-eu-1
namespaces: {"": platform, shop: shop-prod}
source:
  kind: mongodb
  url: {env: PORTER_MONGODB_URL}
  caFile: ca.pem
  id: main
  pollInterval: 500ms
  deletionCheckInterval: 1m
  settleTime: 0s
  secrets: {kind: filesystem, path: ~/.porter/secrets}
sinks:
  - {name: books, kind: shelf, path: ../books, timeout: 9, lock: {keyFile: key}}
  - {name: cards, kind: drawer}
rules:
  - name: one
    match: {namespaces: ["", "shop-*"], installations: ["[ab]?", "[[]", "[]]"], labels: {tier: data}}
    outputs: {include: ["db-*"], exclude: [db-x], sensitivity: sensitive}
    carryOver: false
    onUninstall: Retain
    deletionPolicy: Retain
    prune: true
    targets:
      - sink: books
        path: "{rule}/{instance}/{namespace}-{installation}"
        keys: {host: "my host", dsn: {template: "x{a b|trim|pointer:/u}{{}}"}}
        keyStyle: upper-snake
        updatePolicy: IfNotExists
        conflictPolicy: Adopt
      - sink: cards
guard: {maxDeletions: 0, maxDeletionPercent: 100, grace: 0s}
resyncInterval: 1h30m
api: {enabled: false}
customResources: {enabled: false}
"""


def test_the_defaults(load: Loader, minimal: str) -> None:
    """Changing a default is a decision: it changes what existing files do."""
    config = load(minimal)
    (rule,) = config.policy.rules
    (target,) = rule.targets
    assert config.policy == Policy(
        instance="test", rules=(rule,), namespaces={},
        guard=GuardLimits(max_deletions=5, max_deletion_percent=20, grace=10.0), settle_time=30.0,
    )  # fmt: skip
    assert (config.poll_interval, config.deletion_check_interval, config.resync_interval) == (
        2.0,
        15.0,
        600.0,
    )
    assert rule == Rule(
        name="all", targets=(target,),
        match=Match(namespaces=("*",), installations=("*",), labels={}),
        outputs=OutputFilter(include=("*",), exclude=(), sensitivity=Sensitivity.ANY),
        carry_over=True, on_uninstall=OnUninstall.DELETE, deletion_policy=DeletionPolicy.DELETE, prune=False,
    )  # fmt: skip
    assert target == Target(
        sink="out", id="0", parts=("{namespace}", "{installation}"), layout=Layout.BUNDLE,
        naming=target.naming, capabilities=config.sinks[0].kind.capabilities, attributes={"a": "b"}, keys=None,
        key_style=KeyStyle.RAW, update_policy=UpdatePolicy.REPLACE, conflict_policy=ConflictPolicy.REFUSE,
    )  # fmt: skip
    assert config.source == DumpSourceConfig(path=load.folder / "dump", id=None, secrets=NoSecretsConfig())


def test_the_core_and_the_file_agree_on_defaults(load: Loader, minimal: str) -> None:
    policy = load(minimal).policy
    assert policy == Policy(instance="test", rules=policy.rules)
    assert policy.rules == (Rule(name="all", targets=policy.rules[0].targets),)


def test_everything_that_can_be_said(load: Loader) -> None:
    config = load(EVERYTHING)
    first, second = config.policy.rules[0].targets
    assert config.policy == Policy(
        instance="prod-eu-1",
        namespaces={"": "platform", "shop": "shop-prod"},
        guard=GuardLimits(max_deletions=0, max_deletion_percent=100, grace=0.0),
        settle_time=0.0,
        rules=(
            Rule(
                name="one", targets=(first, second),
                match=Match(namespaces=("", "shop-*"), installations=("[ab]?", "[[]", "[]]"), labels={"tier": "data"}),
                outputs=OutputFilter(include=("db-*",), exclude=("db-x",), sensitivity=Sensitivity.SENSITIVE),
                carry_over=False, on_uninstall=OnUninstall.RETAIN, deletion_policy=DeletionPolicy.RETAIN, prune=True,
            ),
        ),
    )  # fmt: skip
    assert first.parts == ("{rule}", "{instance}", "{namespace}-{installation}")
    assert first.keys == {
        "host": FromOutput("my host"),
        "dsn": FromTemplate(("x", Placeholder("a b", ("trim", "pointer:/u")), "{}")),
    }
    assert (first.id, first.key_style) == ("0", KeyStyle.UPPER_SNAKE)
    assert (first.update_policy, first.conflict_policy) == (UpdatePolicy.IF_NOT_EXISTS, ConflictPolicy.ADOPT)
    assert (second.id, second.sink, second.layout) == ("1", "cards", Layout.PER_OUTPUT)
    assert (config.poll_interval, config.deletion_check_interval, config.resync_interval) == (
        0.5,
        60.0,
        5400.0,
    )


def test_paths_start_at_the_file_and_home_is_the_environments(load: Loader) -> None:
    config = load(EVERYTHING)
    assert isinstance(config.source, MongoSourceConfig)
    assert config.path == load.folder / "syncer.yaml"
    assert config.source.ca_file == load.folder / "ca.pem"
    assert config.source.secrets == FilesystemSecretsConfig(path=Path("/home/ann/.porter/secrets"))
    books = config.sinks[0].options.model_dump()
    assert books == {
        "path": load.folder / "../books", "timeout": 9, "lock": {"key_file": load.folder / "key"},
    }  # fmt: skip


def test_a_relative_file_name_means_the_working_directory(
    load: Loader, minimal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load(minimal)
    monkeypatch.chdir(load.folder)
    found = replace(load, folder=Path())(minimal)
    assert (found.path, found.source) == (expected.path, expected.source)


def test_sinks_carry_their_kind_and_options(load: Loader) -> None:
    found = [
        (sink.name, sink.kind.kind, type(sink.options) is sink.kind.options)
        for sink in load(EVERYTHING).sinks
    ]
    assert found == [("books", "shelf", True), ("cards", "drawer", True)]


def test_the_kubernetes_secret_store(load: Loader, with_line: WithLine) -> None:
    secrets = "{kind: kubernetes, namespace: porter, kubeconfig: kube, context: c, requestTimeout: 5s}"
    config = load(with_line(2, f"source: {{kind: dump, path: dump, secrets: {secrets}}}"))
    assert isinstance(config.source, DumpSourceConfig)
    assert config.source.secrets == KubernetesSecretsConfig(
        namespace="porter",
        connection=KubernetesOptions(kubeconfig=load.folder / "kube", context="c", request_timeout=5.0),
    )


def test_porters_own_configuration_is_found_as_porter_finds_it(load: Loader, with_line: WithLine) -> None:
    plain, explicit = (
        with_line(2, line)
        for line in ("source: {kind: porter}", "source: {kind: porter, home: p, context: c, id: i}")
    )

    def found(text: str, **environ: str) -> tuple[Path, str | None, str | None]:
        source = load(text, **environ).source
        assert isinstance(source, PorterSourceConfig)
        assert source.environ["PORTER_MONGODB_URL"]
        assert "env-canary" not in repr(source)
        return source.home, source.context, source.id

    environ = {"PORTER_HOME": "/porter", "PORTER_CONTEXT": "other"}
    assert found(plain) == (Path("/home/ann/.porter"), None, None)
    assert found(plain, **environ) == (Path("/porter"), "other", None)
    assert found(explicit, **environ) == (load.folder / "p", "c", "i")


def test_the_process_environment_is_read_in_one_place(
    load: Loader, with_line: WithLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCER_TEST_URL", "mongodb://db/porter")
    url = "source: {kind: mongodb, url: {env: SYNCER_TEST_URL}, secrets: {kind: none}}"
    text = with_line(2, url).replace("kind: shelf", "kind: file")
    path = load.folder / "syncer.yaml"
    path.write_text(text)
    config = load_config_from_environment(path)
    assert isinstance(config.source, MongoSourceConfig)
    assert config.source.url.reveal() == os.environb[b"SYNCER_TEST_URL"]
