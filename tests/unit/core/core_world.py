"""Small installations, rules and secrets, for the tests of the pure core."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from backends.contract import Layout, Mark, ObservedSecret, Owner, Version
from backends.kubernetes_secret.names import KubernetesNaming
from backends.memory import CAPABILITIES, MemoryNaming
from backends.secret_value import SecretValue
from syncer.core.changes import Create
from syncer.core.mapping import Unmappable, Wanted, map_target
from syncer.core.model import (
    Declaration,
    Found,
    Installation,
    InstallationKey,
    InstallationState,
    OutputRef,
    OutputSet,
    OutputState,
    Policy,
    Result,
    Rule,
    SelectedOutput,
    Target,
)
from syncer.core.planning import decide

KEY = InstallationKey("shop", "orders")
LIFE = "01LIFE"
CONTENTS = {"host": b"db.internal", "password": b"battery staple"}
FRESH = "fresh"
OWNER = Owner(instance="prod", source="source-1")


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def result(number: int, *names: str, action: str = "upgrade", modifies: bool = True) -> Result:
    return Result(
        id=f"{number:04}",
        run_id=f"run-{number:04}",
        action=action,
        modifies=modifies,
        outputs={name: digest_of(content_of(number, name)) for name in names},
    )


def content_of(number: int, name: str) -> bytes:
    return f"{name} of {number}".encode("utf-8", "surrogatepass")


def installation(*results: Result, **changes: Any) -> Installation:
    """Declares all its results have; nothing is sensitive."""
    plain = Declaration(sensitive=False, type="string")
    fields: dict[str, Any] = {
        "key": KEY,
        "id": LIFE,
        "labels": {},
        "state": InstallationState.INSTALLED,
        "results": tuple(sorted(results, key=lambda one: one.id, reverse=True)),
        "declared": {name: plain for one in results for name in one.outputs},
    }
    return Installation(**(fields | changes))


def output_set(
    contents: Mapping[str, bytes | None], *, key: InstallationKey = KEY, life: str = LIFE, number: int = 1
) -> OutputSet:
    """Outputs of one result; None: Porter recorded no digest."""
    outputs = {
        name: SelectedOutput(
            ref=OutputRef(
                key, f"run-{number:04}", f"{number:04}", name, None if content is None else digest_of(content)
            ),
            sensitive=False,
            type="string",
        )
        for name, content in contents.items()
    }
    return OutputSet(
        key=key,
        id=life,
        run_id=f"run-{number:04}",
        result_id=f"{number:04}",
        action="upgrade",
        outputs=outputs,
    )


def target(**changes: Any) -> Target:
    fields: dict[str, Any] = {
        "sink": "store",
        "id": "0",
        "parts": ("{namespace}", "{installation}"),
        "layout": Layout.BUNDLE,
        "naming": MemoryNaming(),
        "capabilities": CAPABILITIES,
    }
    return Target(**(fields | changes))


def per_output(**changes: Any) -> Target:
    return target(**({"layout": Layout.PER_OUTPUT, "parts": ("{namespace}", "{output}")} | changes))


def kubernetes(**changes: Any) -> Target:
    return target(**({"naming": KubernetesNaming(None)} | changes))


def rule(*targets: Target, **changes: Any) -> Rule:
    return Rule(**({"name": "default", "targets": targets or (target(),)} | changes))


def policy(**changes: Any) -> Policy:
    return Policy(**({"instance": "prod", "rules": ()} | changes))


def wanted(outputs: OutputSet, aim: Target | None = None, **changes: Any) -> Wanted:
    aim = aim or target()
    (mapped,) = map_target(outputs, rule(aim, **changes), aim, policy())
    assert isinstance(mapped, Wanted)
    return mapped


def unmappable(outputs: OutputSet, aim: Target, **changes: Any) -> Unmappable:
    (mapped,) = map_target(outputs, rule(aim), aim, policy(**changes))
    assert isinstance(mapped, Unmappable)
    return mapped


def found(outputs: OutputSet, contents: Mapping[str, bytes]) -> dict[OutputRef, OutputState]:
    return {outputs.outputs[name].ref: Found(SecretValue(content)) for name, content in contents.items()}


def secrets(contents: Mapping[str, bytes]) -> dict[str, SecretValue]:
    return {name: SecretValue(content) for name, content in contents.items()}


def mark(**changes: str) -> Mark:
    fields = {
        "instance": OWNER.instance,
        "source": OWNER.source,
        "rule": "default",
        "target": "0",
        "address": "shop/orders",
        "namespace": KEY.namespace,
        "installation": KEY.name,
        "installation_id": LIFE,
        "run_id": "run-0001",
        "result_id": "0001",
        "revision": "r1",
        "content_id": "c1",
    }
    return Mark(**(fields | changes))


def observed(found_mark: Mark | None, **changes: Any) -> ObservedSecret:
    fields: dict[str, Any] = {
        "address": found_mark.address if found_mark else "shop/orders",
        "version": Version("7"),
        "mark": found_mark,
        "foreign": None,
    }
    return ObservedSecret(**(fields | changes))


def decided(one: Wanted, there: ObservedSecret | None, contents=None, *, owner=OWNER, settling=False):
    """What `decide` says when these are the outputs' values."""
    states = found(one.outputs, CONTENTS if contents is None else contents)
    return decide(one, there, states, owner, fresh_id=FRESH, settling=settling)


def written(one: Wanted, contents=None, *, owner=OWNER, content_id="c1") -> ObservedSecret:
    """What is there after `one` was created by this owner."""
    states = found(one.outputs, CONTENTS if contents is None else contents)
    change = decide(one, None, states, owner, fresh_id=content_id, settling=False)
    assert isinstance(change, Create)
    desired = change.desired
    return observed(desired.mark, data=desired.data, attributes=desired.attributes)
