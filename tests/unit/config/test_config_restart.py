"""What `restart` of a kubernetes target comes to, and what can be wrong with it: one clear line each.

The real kinds of sinks. Left out: which names are legal (tests of the sink's options).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.contract import Workloads
from syncer.config.errors import ConfigError
from syncer.config.loading import load_config
from syncer.config.model import Config

FILE = """\
instance: test
source: {{kind: dump, path: dump, secrets: {{kind: none}}}}
sinks: [{{name: out, {sink}}}]
rules:
  - name: a
    targets:
      - sink: out
        restart: {restart}
"""
KINDS = "should be 'Deployment', 'StatefulSet' or 'DaemonSet'"
NAME = "is not a legal name of a workload; templates are not filled in here"


def load(folder: Path, restart: str, *, sink: str = "kind: kubernetes") -> Config:
    path = folder / "syncer.yaml"
    path.write_text(FILE.format(sink=sink, restart=restart))
    return load_config(path, {"HOME": "/home/ann"})


def test_whom_to_restart_is_part_of_the_target(tmp_path: Path) -> None:
    config = load(
        tmp_path, "[{kind: Deployment, name: shop}, {kind: DaemonSet, selector: {app: shop, tier: web}}]"
    )
    assert config.policy.rules[0].targets[0].restart == (
        Workloads(kind="Deployment", name="shop"),
        Workloads(kind="DaemonSet", selector={"app": "shop", "tier": "web"}),
    )


def test_nobody_is_restarted_by_an_empty_list(tmp_path: Path) -> None:
    assert load(tmp_path, "[]").policy.rules[0].targets[0].restart == ()


@pytest.mark.bad_input(39)
@pytest.mark.parametrize(
    ("restart", "place", "message"),
    [
        ("shop", "", "should be a list"),
        ("{kind: Deployment, name: shop}", "", "should be a list"),
        ("[shop]", "[0]", "should be a mapping of settings to values"),
        ("[{name: shop}]", "[0].kind", "is required"),
        ("[{kind: Pod, name: shop}]", "[0].kind", KINDS),
        ("[{kind: deployment, name: shop}]", "[0].kind", KINDS),
        ("[{kind: Deployment}]", "[0]", "needs name or selector, and not both"),
        (
            "[{kind: Deployment, name: a, selector: {a: b}}]",
            "[0]",
            "needs name or selector, and not both",
        ),
        ("[{kind: Deployment, name: Shop}]", "[0].name", f"'Shop' {NAME}"),
        ("[{kind: Deployment, name: '{installation}'}]", "[0].name", f"'{{installation}}' {NAME}"),
        ("[{kind: Deployment, name: 5}]", "[0].name", "should be text (put it in quotes)"),
        ("[{kind: Deployment, selector: {}}]", "[0].selector", "should not be empty"),
        ("[{kind: Deployment, selector: app}]", "[0].selector", "should be a mapping of names to values"),
        (
            "[{kind: Deployment, selector: {app: 5}}]",
            "[0].selector.app",
            "should be text (put it in quotes)",
        ),
        (
            "[{kind: Deployment, selector: {app: '{installation}'}}]",
            "[0].selector.app",
            "a label's value has at most 63 of A-Z a-z 0-9 - _ . and ends in letters or digits",
        ),
        (
            "[{kind: Deployment, name: a, namespace: other}]",
            "[0].namespace",
            "unknown setting; did you mean name?",
        ),
        ("[{kind: Deployment, name: a}, {kind: DaemonSet}]", "[1]", "needs name or selector, and not both"),
    ],
)
def test_one_mistake_is_one_line(tmp_path: Path, restart: str, place: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, restart)
    (problem,) = caught.value.problems
    found = (problem.line, problem.field, problem.message)
    assert found == (8, f"rules[0].targets[0].restart{place}", message)


def test_a_sink_that_cannot_restart_has_no_such_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "[]", sink="kind: file, path: out")
    (problem,) = caught.value.problems
    assert (problem.line, problem.field) == (8, "rules[0].targets[0].restart")
    assert problem.message.startswith("unknown setting; there are: ")
