"""What the tests of InstallationOutputs share: the definitions, rights, and secrets with a description.

The definition and the roles are those that the chart installs. The operator's own definition is a stand-in
with the two fields of an Installation that matter here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from backends.contract import DesiredSecret, Mark, Owner
from backends.secret_value import SecretValue

FILES = Path(__file__).parents[2] / "charts" / "porter-outputs-syncer" / "files"
DEFINITION = yaml.safe_load((FILES / "installationoutputs.yaml").read_text())
ROLES = list(yaml.safe_load_all((FILES / "aggregate-roles.yaml").read_text()))

API = "outputs.porter.sh/v1alpha1"
KIND = "InstallationOutputs"
OPERATOR_API = "getporter.org/v1"
OPERATOR_RULE = {"apiGroups": ["getporter.org"], "resources": ["installations"], "verbs": ["list"]}
RULES = [
    {
        "apiGroups": ["outputs.porter.sh"],
        "resources": ["installationoutputs"],
        "verbs": ["get", "list", "create", "update", "delete"],
    },
    {"apiGroups": ["outputs.porter.sh"], "resources": ["installationoutputs/status"], "verbs": ["update"]},
    OPERATOR_RULE,
]
OWNER = Owner(instance="test", source="source")

OPERATORS_DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "installations.getporter.org"},
    "spec": {
        "group": "getporter.org",
        "scope": "Namespaced",
        "names": {"kind": "Installation", "plural": "installations", "singular": "installation"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                        },
                    }
                },
            }
        ],
    },
}


def mark(namespace: str, name: str = "orders", **fields: str) -> Mark:
    usual = {
        "instance": OWNER.instance,
        "source": OWNER.source,
        "rule": "custom-resources",
        "target": "0",
        "address": f"{namespace}/{name}",
        "namespace": "shop",
        "installation": name,
        "installation_id": "01INSTALLATION",
        "run_id": "01RUN",
        "result_id": "01RESULT",
        "revision": "revision-1",
        "content_id": "content-1",
    }
    return Mark(**usual | fields)


def output(name: str, *, sensitive: bool = False, secret: str | None = None) -> dict:
    place = {} if secret is None else {"secret": {"address": secret, "key": name}}
    return {"name": name, "type": "string", "sensitive": sensitive} | place


def desired(
    namespace: str,
    outputs: list[dict],
    data: Mapping[str, bytes],
    *,
    name: str = "orders",
    **description: object,
) -> DesiredSecret:
    """Fields of the mark go by `revision`, all else is the description's."""
    revision = str(description.pop("revision", "revision-1"))
    told = {"run": "01RUN", "result": "01RESULT", "action": "install", "outputs": outputs} | description
    return DesiredSecret(
        mark=mark(namespace, name, revision=revision),
        data={key: SecretValue(content) for key, content in data.items()},
        attributes={"description": json.dumps(told)},
    )


def shown_value(entry: Mapping[str, str]) -> bytes:
    text = entry["value"]
    return base64.b64decode(text) if entry.get("encoding") == "base64" else text.encode()


def installation(namespace: str, name: str, *, porter: tuple[str, str] = ("shop", "orders")) -> dict:
    """The Porter operator's Installation."""
    return {
        "apiVersion": OPERATOR_API,
        "kind": "Installation",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"namespace": porter[0], "name": porter[1]},
    }
