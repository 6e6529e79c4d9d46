"""Bad files: every mistake named by file, line and field, all of them at once, no value repeated.

Left out: what is no YAML (test_config_document), secrets and URLs (test_config_references).
The real kinds of sinks appear only where a row of the bad-input catalogue is about them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from syncer.config.durations import Duration, duration_text
from syncer.config.errors import ConfigError
from syncer.config.loading import load_config

if TYPE_CHECKING:
    from conftest import Loader

CANARY = "canary-51aa"
WithLine = Callable[[int, str], str]
DURATION = "should be a duration with its unit, such as 30s, 10m, 1h30m or 500ms"
NAME = "should match ^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$"


def target(settings: str) -> str:
    return f"rules: [{{name: all, targets: [{{sink: out, {settings}}}]}}]"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "nothing.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"


@pytest.mark.bad_input(39)
@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        (5, "bogus: 2s", ("bogus", "unknown setting; there are: api, customResources, guard, instance, leaderElection, namespaces, resyncInterval, rules, sinks, source, telemetry")),
        (5, "resyncIntervall: 2m", ("resyncIntervall", "unknown setting; did you mean resyncInterval?")),
        (5, "resync_interval: 2m", ("resync_interval", "unknown setting; did you mean resyncInterval?")),
        (5, "guard: {maxDeletion: 5}", ("guard.maxDeletion", "unknown setting; did you mean maxDeletions?")),
        (2, "source: {kind: dump, paht: x, secrets: {kind: none}, path: x}", ("source.paht", "unknown setting; did you mean path?")),
        (2, "source: {kind: dump, path: x, secrets: {kind: filesystem, path: x, caFile: x}}", ("source.secrets.caFile", "unknown setting; there are: kind, path")),
        (3, "sinks: [{name: out, kind: shelf, path: x, Path: y}]", ("sinks[0].Path", "unknown setting; did you mean path?")),
        (3, "sinks: [{name: out, kind: shelf, path: x, lock: {keyFile: x, keyfile: y}}]", ("sinks[0].lock.keyfile", "unknown setting; did you mean keyFile?")),
        (4, target("keystyle: raw"), ("rules[0].targets[0].keystyle", "unknown setting; did you mean keyStyle?")),
        (4, target("layuot: bundle"), ("rules[0].targets[0].layuot", "unknown setting; did you mean layout?")),
        (4, "rules: [{name: a, mtach: {}, targets: [{sink: out}]}]", ("rules[0].mtach", "unknown setting; did you mean match?")),
        (4, target("keys: {a: {tempalte: x, template: x}}"), ("rules[0].targets[0].keys.a.tempalte", "unknown setting; did you mean template?")),
        (1, "instance: 5", ("instance", "should be text (put it in quotes)")),
        (1, "instance: -x", ("instance", NAME)),
        (1, f"instance: {'x' * 64}", ("instance", NAME)),
        (1, "# nothing", ("instance", "is required")),
        (2, "source: dump", ("source", "should be a mapping of settings to values")),
        (2, "source: {path: x}", ("source.kind", "is required")),
        (2, "source: {kind: mongo}", ("source.kind", "should be one of 'mongodb', 'dump', 'porter'")),
        (2, "source: {kind: dump, path: x}", ("source.secrets", "is required")),
        (2, "source: {kind: dump, path: 5, secrets: {kind: none}}", ("source.path", "should be a path")),
        (2, "source: {kind: porter, secrets: {kind: none}}", ("source.secrets", "unknown setting; there are: context, deletionCheckInterval, home, id, kind, pollInterval, settleTime")),
        (2, "source: {kind: dump, path: x, secrets: {kind: vault, address: 'https://v', auth: {method: cert}, clientCertificate: x}}", ("source.secrets.pathPrefix", "is required")),
        (2, "source: {kind: dump, path: x, secrets: {kind: azure}}", ("source.secrets.kind", "should be one of 'filesystem', 'kubernetes', 'vault', 'azure-keyvault', 'none'")),
        (2, "source: {kind: dump, path: x, secrets: {kind: kubernetes}}", ("source.secrets.namespace", "is required")),
        (3, "sinks: [{name: out, kind: shlef}]", ("sinks[0].kind", "there is no such kind of sink; installed are: drawer, shelf")),
        (3, "sinks: [{name: out}]", ("sinks[0].kind", "is required")),
        (3, "sinks: [{name: out, kind: ''}]", ("sinks[0].kind", "should not be empty")),
        (3, "sinks: [{name: out, kind: shelf, path: x}, {name: 'a:b', kind: shelf, path: y}]", ("sinks[1].name", NAME)),
        (3, "sinks: [{name: out, kind: shelf}]", ("sinks[0].path", "is required")),
        (4, "rules: []", ("rules", "should not be empty")),
        (4, "rules: {}", ("rules", "should be a list")),
        (4, "rules: [{name: a, targets: []}]", ("rules[0].targets", "should not be empty")),
        (4, "rules: [{targets: [{sink: out}]}]", ("rules[0].name", "is required")),
        (4, "rules: [{name: a, carryOver: 1, targets: [{sink: out}]}]", ("rules[0].carryOver", "should be true or false")),
        (4, "rules: [{name: a, onUninstall: Keep, targets: [{sink: out}]}]", ("rules[0].onUninstall", "should be 'Delete' or 'Retain'")),
        (4, "rules: [{name: a, outputs: {sensitivity: high}, targets: [{sink: out}]}]", ("rules[0].outputs.sensitivity", "should be 'any', 'sensitive' or 'plain'")),
        (4, "rules: [{name: a, match: {namespaces: x}, targets: [{sink: out}]}]", ("rules[0].match.namespaces", "should be a list")),
        (4, "rules: [{name: a, match: {namespaces: []}, targets: [{sink: out}]}]", ("rules[0].match.namespaces", "should not be empty")),
        (4, "rules: [{name: a, match: {installations: ['a[b']}, targets: [{sink: out}]}]", ("rules[0].match.installations[0]", "has a '[' that is not closed (a literal one is '[[]')")),
        (4, "rules: [{name: a, match: {labels: {a: 5}}, targets: [{sink: out}]}]", ("rules[0].match.labels.a", "should be text (put it in quotes)")),
        (4, "rules: [{name: a, outputs: {exclude: ['']}, targets: [{sink: out}]}]", ("rules[0].outputs.exclude[0]", "should not be empty")),
        (4, "rules: [{name: a, targets: [{sink: uot}]}]", ("rules[0].targets[0].sink", "no sink has this name")),
        (4, "rules: [{name: a, targets: [{path: x}]}]", ("rules[0].targets[0].sink", "is required")),
        (4, target("layout: pile"), ("rules[0].targets[0].layout", "should be 'bundle' or 'perOutput'")),
        (4, target("keys: {}"), ("rules[0].targets[0].keys", "should not be empty")),
        (4, target("keys: {a: 5}"), ("rules[0].targets[0].keys.a", "should be the name of an output or {template: TEXT}")),
        (4, target("keys: {a: ''}"), ("rules[0].targets[0].keys.a", "should not be empty")),
        (4, target("updatePolicy: Never"), ("rules[0].targets[0].updatePolicy", "should be 'Replace' or 'IfNotExists'")),
        (5, "guard: {maxDeletions: 5.0}", ("guard.maxDeletions", "should be a whole number")),
        (5, "guard: {maxDeletionPercent: 101}", ("guard.maxDeletionPercent", "should be less than or equal to 100")),
        (5, "namespaces: {'': Platform}", ('namespaces[""]', "should match ^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")),
        (5, "instance: other", ("instance", "is given twice, first on line 1")),
        (5, "api: {enabled: 1}", ("api.enabled", "should be true or false")),
        (5, "api: {listen: '0.0.0.0:3001'}", ("api", "listens beyond this machine, and so needs tls")),
        (5, "api: {listen: '0.0.0.0:3001', tls: {certificate: a, key: b}}", ("api", "listens beyond this machine, and so needs access of another kind than loopback")),
        (5, "api: {access: {kind: certificates, clients: [{name: a, namespaces: ['*']}]}}", ("api", "has access by certificates, and so needs tls with clientCa")),
        (5, "api: {access: {kind: certificates, clients: []}}", ("api.access.clients", "should not be empty")),
        (5, "api: {access: {kind: certificates, clients: [{name: a, namespaces: ['[']}]}}", ("api.access.clients[0].namespaces[0]", "has a '[' that is not closed (a literal one is '[[]')")),
        (5, "api: {access: {kind: cubernetes}}", ("api.access.kind", "should be one of 'kubernetes', 'certificates', 'loopback'")),
        (5, "api: {access: {kind: kubernetes, audience: 'https://kubernetes.default.svc'}}", ("api.access.audience", "is the API server's own audience: a token for us would open everything there")),
        (5, "customResources: {enabled: true}", ("customResources", "needs a sink of kind kubernetes beside it; there is none")),
        (5, "customResources: {enabled: true, sink: out}", ("customResources.sink", "is no sink of kind kubernetes")),
        (5, "customResources: {sinks: out}", ("customResources.sinks", "unknown setting; did you mean sink?")),
    ],
)  # fmt: skip
def test_one_mistake_is_one_line(
    load: Loader, with_line: WithLine, line: int, text: str, expected: tuple[str, str]
) -> None:
    problems = load.problems(with_line(line, text))
    assert [(problem.line, problem.field, problem.message) for problem in problems] == [(line, *expected)]


@pytest.mark.bad_input(39)
@pytest.mark.parametrize("pattern", ["[", "[]", "[!", "[!]", "[a][b", "[]a", "a[!]b"])
def test_a_glob_that_would_be_read_literally_is_refused(
    load: Loader, with_line: WithLine, pattern: str
) -> None:
    """fnmatch takes an unclosed bracket for a character, which is never what was meant."""
    (problem,) = load.problems(
        with_line(4, f"rules: [{{name: a, outputs: {{include: ['{pattern}']}}, targets: [{{sink: out}}]}}]")
    )
    assert (problem.line, problem.field) == (4, "rules[0].outputs.include[0]")


@pytest.mark.parametrize("pattern", ["[[]", "[]]", "[!]]", "[]ab]x", "[a][b]", "[!a]?*", "]", "a]"])
def test_a_glob_with_closed_brackets_loads(load: Loader, with_line: WithLine, pattern: str) -> None:
    text = with_line(
        4, f"rules: [{{name: a, outputs: {{include: ['{pattern}']}}, targets: [{{sink: out}}]}}]"
    )
    assert load(text).policy.rules[0].outputs.include == (pattern,)


@pytest.mark.bad_input(39)
def test_without_sinks_no_target_has_one(load: Loader, with_line: WithLine) -> None:
    found = load.problems(with_line(3, "sinks: []"))
    assert [(problem.line, problem.field, problem.message) for problem in found] == [
        (3, "sinks", "should not be empty"), (4, "rules[0].targets[0].sink", "no sink has this name"),
    ]  # fmt: skip


@pytest.mark.bad_input(39)
def test_a_file_that_is_no_mapping(load: Loader) -> None:
    assert (
        str(load.refusal("- a\n- b\n"))
        == f"{load.folder}/syncer.yaml:1: should be a mapping of settings to values"
    )


@pytest.mark.bad_input(39)
def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(load: Loader) -> None:
    problems = load.problems(
        """\
instance: test
instance: again
source:
  kind: mongodb
  url: {env: NOT_SET}
  pollInterval: 0s
  secrets: {kind: cupboard}
sinks:
  - {name: out, kind: shelf, path: x}
  - {name: out, kind: shelf, path: y}
  - {name: bad, kind: shelf, paths: x}
  - {name: odd, kind: none-such}
  - 7
rules:
  - name: a
    match: {namespaces: 5}
    targets:
      - {sink: out, path: "{secret}", layuot: x}
      - {sink: out, path: "../{namespace}"}
      - sink: bad
        layout: pile
      - {sink: odd, whatever: x}
      - {sink: gone}
      - 7
  - name: a
    targets: [{sink: out, keys: {A: x, "b!": {template: "{x|rot13}"}}}]
api: {enabled: 1}
"""
    )
    assert [(problem.line, problem.field) for problem in problems] == [
        (2, "instance"),
        (5, "source.url"),
        (6, "source.pollInterval"),
        (7, "source.secrets.kind"),
        (10, "sinks[1].name"),
        (11, "sinks[2].paths"),
        (11, "sinks[2].path"),
        (12, "sinks[3].kind"),
        (13, "sinks[4]"),
        (16, "rules[0].match.namespaces"),
        (18, "rules[0].targets[0].layuot"),
        (19, "rules[0].targets[1].path"),
        (21, "rules[0].targets[2].layout"),
        (23, "rules[0].targets[4].sink"),
        (24, "rules[0].targets[5]"),
        (25, "rules[1].name"),
        (26, 'rules[1].targets[0].keys["b!"].template'),
        (26, "rules[1].targets[0].keys.A"),
        (26, 'rules[1].targets[0].keys["b!"]'),
        (27, "api.enabled"),
    ]  # fmt: skip


@pytest.mark.bad_input(40)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0s", "should be longer than 0s"),
        ("0h0m0s0ms", "should be longer than 0s"),
        ("-5s", DURATION),
        ("1e9s", DURATION),
        ("1000000001s", DURATION),
        ("999999999s", "should be at most 1000000s"),
        ("1000001s", "should be at most 1000000s"),
        ("30", DURATION),
        ("2.5", DURATION),
        ("''", DURATION),
        ("30 s", DURATION),
        ("1d", DURATION),
        ("5s1h", DURATION),
        ("~", DURATION),
        ("[2s]", DURATION),
    ],
)
@pytest.mark.parametrize(
    "setting",
    [
        (
            2,
            "source.pollInterval",
            "source: {{kind: dump, path: x, pollInterval: {}, secrets: {{kind: none}}}}",
        ),
        (2, "source.deletionCheckInterval", "source: {{kind: porter, deletionCheckInterval: {}}}"),
        (5, "resyncInterval", "resyncInterval: {}"),
    ],
)
def test_an_interval_needs_a_unit_and_a_sensible_length(
    load: Loader, with_line: WithLine, setting: tuple[int, str, str], text: str, message: str
) -> None:
    line, field, template = setting
    (problem,) = load.problems(with_line(line, template.format(text)))
    assert (problem.line, problem.field, problem.message) == (line, field, message)


@pytest.mark.bad_input(40)
def test_counts_and_waits_that_are_negative(load: Loader, with_line: WithLine) -> None:
    found = load.problems(with_line(5, "guard:\n  grace: -1s\n  maxDeletions: -1\n  maxDeletionPercent: -1"))
    assert [(problem.line, problem.field) for problem in found] == [
        (6, "guard.grace"), (7, "guard.maxDeletions"), (8, "guard.maxDeletionPercent"),
    ]  # fmt: skip


@given(st.integers(1, 1_000_000_000))
def test_durations_are_read_as_they_are_written(thousandths: int) -> None:
    assert TypeAdapter(Duration).validate_python(duration_text(thousandths / 1000)) == pytest.approx(
        thousandths / 1000
    )


def test_a_duration_of_nothing() -> None:
    assert duration_text(0) == "0s"


@pytest.mark.bad_input(42)
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../{installation}", "'.' or '..'"),
        ("a/../{installation}", "'.' or '..'"),
        ("a/../../{installation}", "'.' or '..'"),
        ("./{installation}", "'.' or '..'"),
        ("/etc/{installation}", "begins or ends with '/'"),
        ("{installation}/", "begins or ends with '/'"),
        ("a//{installation}", "has an empty part"),
        ("", "has an empty part"),
        ("{password}", "only these may be used in an address"),
        ("{installation.key}", "only these may be used in an address"),
        ("{0}", "only these may be used in an address"),
        ("{installation!r}", "only these may be used in an address"),
        ("{installation:>9}", "only these may be used in an address"),
        ("{installation", "not closed or not opened"),
        ("installation}", "not closed or not opened"),
        ("{env(HOME)}", "only these may be used in an address"),
        ("{{installation}}", "not closed or not opened"),
    ],
)
def test_an_address_cannot_lead_outside(load: Loader, with_line: WithLine, path: str, message: str) -> None:
    problems = load.problems(with_line(4, target(f'path: "{path}"')))
    assert {(problem.line, problem.field) for problem in problems} == {(4, "rules[0].targets[0].path")}
    assert any(message in problem.message for problem in problems)


@pytest.mark.bad_input(42)
def test_a_value_template_is_plain_substitution(load: Loader, with_line: WithLine) -> None:
    for template in ("{a|env}", "{a", "{a|pointer:x}", "{}", "{a|trim()}"):
        (problem,) = load.problems(with_line(4, target(f"keys: {{dsn: {{template: '{template}'}}}}")))
        assert (problem.line, problem.field) == (4, "rules[0].targets[0].keys.dsn.template")


@pytest.mark.bad_input(42)
def test_an_address_the_sink_never_takes_is_refused(load: Loader, with_line: WithLine) -> None:
    (problem,) = load.problems(with_line(4, target("path: 'forbidden/{installation}'")))
    assert (problem.line, problem.field) == (4, "rules[0].targets[0]")
    assert problem.message == "forbidden is forbidden here"


@pytest.mark.bad_input(42)
def test_the_layout_and_the_address_have_to_agree(load: Loader, with_line: WithLine) -> None:
    (bundle,) = load.problems(with_line(4, target("path: '{installation}/{output}'")))
    assert bundle.message == "all outputs go into one secret: the address cannot use {output}"
    (unable,) = load.problems(with_line(4, target("layout: perOutput")))
    assert (unable.field, unable.message) == (
        "rules[0].targets[0].layout",
        "a shelf sink cannot do this layout",
    )
    drawer = with_line(4, target("name: '{installation}'")).replace("kind: shelf, path: out", "kind: drawer")
    (each,) = load.problems(drawer)
    assert each.message == "each output gets a secret of its own: the address has to use {output}"


def test_keys_have_to_be_legal_as_they_are(load: Loader, with_line: WithLine) -> None:
    found = load.problems(with_line(4, target("keys: {ok: a, Host: a, 'a!': a}")))
    assert [(problem.line, problem.field, problem.message) for problem in found] == [
        (4, "rules[0].targets[0].keys.Host", "is no legal key in this sink; the nearest one is host"),
        (4, 'rules[0].targets[0].keys["a!"]', "is no legal key in this sink"),
    ]


@pytest.mark.bad_input(43)
@pytest.mark.parametrize("path", ["out", "./out", "x/../out", "~/out"])
def test_two_sinks_for_one_place_are_refused(load: Loader, with_line: WithLine, path: str) -> None:
    sinks = f"""sinks:
  - {{name: out, kind: shelf, path: out}}
  - {{name: else, kind: shelf, path: else}}
  - {{name: again, kind: shelf, path: {path}, timeout: 7}}"""
    (problem,) = load.problems(with_line(3, sinks), HOME=str(load.folder))
    assert (problem.line, problem.field) == (6, "sinks[2]")
    assert problem.message == "is the same place as the sink 'out'"


@pytest.mark.bad_input(43)
def test_two_sinks_of_different_kinds_may_look_alike(load: Loader, with_line: WithLine) -> None:
    sinks = "sinks: [{name: out, kind: shelf, path: out}, {name: more, kind: drawer, where: out}, {name: other, kind: drawer}]"
    assert len(load(with_line(3, sinks)).sinks) == 3


@pytest.mark.bad_input(43)
def test_two_sinks_into_one_cluster_are_refused(tmp_path: Path, with_line: WithLine) -> None:
    sinks = "sinks: [{name: out, kind: kubernetes}, {name: two, kind: kubernetes, requestTimeout: 5s}]"
    path = tmp_path / "syncer.yaml"
    path.write_text(with_line(3, sinks))
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert str(caught.value) == f"{path}:3: sinks[1]: is the same place as the sink 'out'"


def test_home_that_is_not_known_is_said_where_it_is_used(load: Loader, with_line: WithLine) -> None:
    source = "source: {kind: dump, path: ~/dump, secrets: {kind: filesystem, path: ~/s}}"
    found = load.problems(with_line(2, source), HOME="")
    message = "~ cannot be expanded: the environment variable HOME is not set"
    assert [(problem.field, problem.message) for problem in found] == [
        ("source.path", message), ("source.secrets.path", message),
    ]  # fmt: skip


@pytest.mark.bad_input(47)
@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ("type: kubernetes.io/service-account-token", "type"),
        ("type: bootstrap.kubernetes.io/token", "type"),
        ("annotations: {kubernetes.io/service-account.name: default}", "annotations"),
        ("annotations: {kubernetes.io/service-account.uid: x}", "annotations"),
        ("labels: {app.kubernetes.io/managed-by: Helm}", "labels"),
        ("labels: {outputs.porter.sh/instance: other}", "labels"),
        ("ownerReferences: [{kind: Node, name: x}]", "ownerReferences"),
        ("finalizers: [x]", "finalizers"),
    ],
)
def test_secrets_that_would_mint_credentials_or_change_hands_are_refused(
    tmp_path: Path, with_line: WithLine, settings: str, field: str
) -> None:
    text = with_line(4, target(settings)).replace("kind: shelf, path: out", "kind: kubernetes")
    path = tmp_path / "syncer.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    (problem,) = caught.value.problems
    assert problem.line == 4
    assert problem.field.startswith(f"rules[0].targets[0].{field}")


def test_a_namespace_of_kubernetes_itself_is_refused_at_load(tmp_path: Path, with_line: WithLine) -> None:
    text = with_line(4, target("namespace: kube-system")).replace(
        "kind: shelf, path: out", "kind: kubernetes"
    )
    path = tmp_path / "syncer.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"rules\[0\].targets\[0\]: namespace 'kube-system'"):
        load_config(path, {})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_setting_repeats_what_it_was_given(load: Loader, data: st.DataObject) -> None:
    """A password pasted into any setting, as text or inside a list or mapping, is not printed."""
    setting = data.draw(
        st.sampled_from(
            [
                "instance: {}", "source: {}", "sinks: {}", "rules: {}", "guard: {}", "namespaces: {{a: {}}}",
                "resyncInterval: {}", "api: {}", "source: {{kind: {}}}", "source: {{kind: mongodb, url: {}}}",
                "source: {{kind: dump, path: x, secrets: {}}}", "source: {{kind: dump, path: [{}], pollInterval: {}}}",
                "sinks: [{{name: {}, kind: {}}}]", "sinks: [{{name: out, kind: shelf, path: x, timeout: {}}}]",
                "rules: [{{name: {}, match: {}, outputs: {}, targets: {}}}]",
                "rules: [{{name: a, targets: [{{sink: {}}}]}}]",
                "rules: [{{name: a, targets: [{{sink: out, keys: {}, keyStyle: {}}}]}}]",
                "rules: [{{name: a, targets: [{{sink: out, path: 'x{{{{{}}}}}', layout: {}}}]}}]",
            ]
        )
    )  # fmt: skip
    form = data.draw(st.sampled_from([f"'{CANARY} x'", f"['{CANARY} x']", f"{{a: '{CANARY} x'}}"]))
    assert CANARY not in str(load.refusal(setting.replace("{}", form).replace("{{", "{").replace("}}", "}")))
