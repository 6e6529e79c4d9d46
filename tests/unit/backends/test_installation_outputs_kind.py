"""The kind as the registry sees it, and the names it makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from backends.contract import Capabilities, Layout, ShowsConditions, TargetShape
from backends.errors import NameRefused
from backends.installation_outputs import KIND
from backends.installation_outputs.objects import GROUP, PLURAL
from backends.installation_outputs.objects import KIND as RESOURCE
from backends.installation_outputs.options import InstallationOutputsOptions, InstallationOutputsTargetOptions

FILES = Path(__file__).parents[3] / "charts" / "porter-outputs-syncer" / "files"


def test_the_defaults():
    assert InstallationOutputsOptions().model_dump() == {
        "kubeconfig": None,
        "context": None,
        "request_timeout": 30.0,
        "namespaces": None,
    }
    assert InstallationOutputsTargetOptions().shape() == TargetShape(
        parts=("{namespace}", "{installation}"), layout=Layout.BUNDLE
    )


def test_what_the_sink_can_do():
    assert KIND.kind == "installation-outputs"
    assert KIND.capabilities == Capabilities(
        compare_and_set=True,
        atomic_mark=False,
        lists_values=False,
        layouts=frozenset({Layout.BUNDLE}),
        max_secret_bytes=None,
        max_value_bytes=None,
        max_address_length=317,
        max_key_length=1024,
    )


def test_the_sink_shows_conditions():
    assert isinstance(KIND.create(InstallationOutputsOptions()), ShowsConditions)


def test_outputs_keep_their_names_and_addresses_are_those_of_secrets():
    naming = KIND.naming(InstallationOutputsOptions(namespaces=("shop",)))
    assert naming.key("tls/Key ü") == "tls/Key ü"
    assert naming.address(("shop", "Orders_DB")) == "shop/orders-db"
    with pytest.raises(NameRefused):
        naming.address(("elsewhere", "orders"))


@pytest.mark.parametrize("name", ["", "x" * 1025])
def test_a_name_that_the_definition_does_not_take_is_refused(name):
    with pytest.raises(NameRefused):
        KIND.naming(InstallationOutputsOptions()).key(name)


def test_the_definition_is_of_what_the_sink_writes():
    spec = yaml.safe_load((FILES / "installationoutputs.yaml").read_text())["spec"]
    (version,) = spec["versions"]
    assert f"{spec['group']}/{version['name']}" == GROUP
    assert (spec["names"]["plural"], spec["names"]["kind"]) == (PLURAL, RESOURCE)


def test_importing_the_kind_loads_no_client_library():
    code = "import sys, backends.installation_outputs; sys.exit(any(m in sys.modules for m in ('kubernetes', 'aiohttp')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
