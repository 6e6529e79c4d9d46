"""What the documentation tells consumers to write, derived from the functions that name things.

Excludes that it works: an agent renders in tests/contract, a CSI driver cannot be had.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from backends.azure_keyvault.csi import MountedSecret, provider_objects
from backends.azure_keyvault.names import AzureKeyVaultNaming
from backends.azure_keyvault.options import AzureKeyVaultTarget
from backends.vault.names import VaultNaming
from backends.vault.options import VaultSinkOptions, VaultTarget
from syncer.core.templates import render_address

DOCS = Path(__file__).parents[2] / "docs"
SHOP = {"namespace": "shop", "installation": "orders-db", "rule": "everything", "instance": "prod"}


def block_after(page: str, heading: str) -> str:
    """The first fenced block of YAML below a heading."""
    _, _, rest = (DOCS / page).read_text().partition(heading)
    found = re.search(r"```yaml\n(.*?)```", rest, re.DOTALL)
    assert found is not None
    return found[1]


def rendered(parts: tuple[str, ...], **values: str) -> tuple[str, ...]:
    return tuple(render_address(part, SHOP | values) for part in parts)


def test_the_injectors_annotations_name_the_path_that_is_written():
    paths = VaultSinkOptions.model_fields["paths"].default
    address = VaultNaming(paths).address(rendered(VaultTarget().shape().parts, output=""))
    annotations = yaml.safe_load(block_after("vault.md", "the agent injector"))["metadata"]["annotations"]
    path = f"secret/data/{address}"
    assert annotations["vault.hashicorp.com/agent-inject-secret-database"] == path
    assert (
        f'{{{{- with secret "{path}" -}}}}'
        in annotations["vault.hashicorp.com/agent-inject-template-database"]
    )
    assert VaultSinkOptions.model_fields["mount"].default == "secret"


def test_the_secret_provider_class_names_the_secrets_that_are_written():
    naming, parts = AzureKeyVaultNaming(), AzureKeyVaultTarget().shape().parts
    outputs = ("host", "admin-password")
    mounted = [
        MountedSecret(address=naming.address(rendered(parts, output=output)), file_name=output)
        for output in outputs
    ]
    documented = yaml.safe_load(block_after("azure-keyvault.md", "the Secrets Store CSI driver"))
    objects = documented["spec"]["parameters"]["objects"]
    assert items(objects) == items(provider_objects(mounted))


def items(objects: str) -> list[object]:
    """What the driver reads: a YAML list of YAML texts."""
    return [yaml.safe_load(item) for item in yaml.safe_load(objects)["array"]]
