"""From outputs to wanted secrets: addresses, keys, collisions, and the revision.

Uses the names of the memory and the kubernetes sink. Left out: how a name is made legal
(tests/unit/backends), and two installations that meet at one address (test_planning).
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from core_world import (
    KEY,
    kubernetes,
    output_set,
    per_output,
    policy,
    rule,
    target,
    unmappable,
    wanted,
)
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Layout
from backends.memory import MemoryNaming
from syncer.core.mapping import Unmappable, Wanted, map_target
from syncer.core.model import (
    Address,
    FromOutput,
    FromTemplate,
    InstallationKey,
    KeyStyle,
    OutputSet,
    Placeholder,
    SelectedOutput,
    Target,
)

TEXT = st.text(max_size=300) | st.sampled_from(
    ["", ".", "..", "__proto__", "a/b", "-x", "\U0001f600", "\u202e", "A_b", "a-b"]
)
NAMES = st.sets(TEXT, min_size=1, max_size=5)
DSN = FromTemplate(("mysql://", Placeholder("user"), ":", Placeholder("password", ("urlencode",)), "@db"))


class Caseless(MemoryNaming):
    """Compares addresses without case, as Azure does."""

    def same(self, address: str) -> str:
        return address.lower()


def several(outputs: OutputSet, aim: Target) -> tuple[Wanted, ...]:
    mapped = map_target(outputs, rule(aim), aim, policy())
    assert all(isinstance(one, Wanted) for one in mapped)
    return tuple(one for one in mapped if isinstance(one, Wanted))


def named(*names: str, number: int = 1) -> OutputSet:
    return output_set(dict.fromkeys(names), number=number)


# --- what is asked for ---------------------------------------------------------------------


@pytest.mark.parametrize("aim", [target(), per_output(), target(keys={"A": FromOutput("a")})])
def test_nothing_is_asked_for_where_there_are_no_outputs(aim):
    assert map_target(named(), rule(aim), aim, policy()) == ()


def test_a_bundle_holds_every_output_under_its_own_name():
    one = wanted(named("host", "ca.crt"))
    assert one.address == Address("store", "shop/orders")
    assert dict(one.keys) == {"host": FromOutput("host"), "ca.crt": FromOutput("ca.crt")}


def test_one_secret_per_output_has_an_address_for_each_and_one_key():
    secrets = several(named("host", "port"), per_output())
    assert {(one.address.path, *one.keys.items()) for one in secrets} == {
        ("shop/host", ("value", FromOutput("host"))),
        ("shop/port", ("value", FromOutput("port"))),
    }


def test_renamed_keys_are_the_only_ones():
    one = wanted(named("host", "port"), target(keys={"DB_HOST": FromOutput("host")}))
    assert dict(one.keys) == {"DB_HOST": FromOutput("host")}


def test_a_secret_uses_each_output_its_keys_name_once():
    keys = {"DSN": DSN, "USER": FromOutput("user"), "CONST": FromTemplate(("text",))}
    one = wanted(named("user", "password", "unused"), target(keys=keys))
    assert sorted(output.ref.name for output in one.used) == ["password", "user"]


def test_a_template_of_several_outputs_is_no_collision():
    assert isinstance(wanted(named("user", "password"), target(keys={"DSN": DSN})), Wanted)


@pytest.mark.parametrize(
    ("name", "key"),
    [("host", "HOST"), ("admin-password", "ADMIN_PASSWORD"), ("ca.crt", "CA_CRT"), ("2nd host", "_2ND_HOST")],
)
def test_upper_snake_makes_names_of_environment_variables(name, key):
    assert set(wanted(named(name), target(key_style=KeyStyle.UPPER_SNAKE)).keys) == {key}


def test_addresses_are_filled_from_metadata():
    aim = target(parts=("{instance}", "{rule}", "{namespace}-{installation}"))
    assert wanted(named("host"), aim).address.path == "prod/default/shop-orders"


def test_a_mapped_namespace_is_used_in_place_of_porters():
    aim = target()
    (one,) = map_target(named("host"), rule(aim), aim, policy(namespaces={"shop": "team-shop"}))
    assert one.address == Address("store", "team-shop/orders")


# --- the global namespace ------------------------------------------------------------------

GLOBAL = InstallationKey("", "orders")


@pytest.mark.bad_input(30)
def test_the_global_namespace_is_held_until_it_is_mapped():
    outputs = output_set({"host": None}, key=GLOBAL)
    held = unmappable(outputs, kubernetes())
    assert held.address is None
    assert "global namespace is not mapped" in held.reason
    (mapped,) = map_target(outputs, rule(kubernetes()), kubernetes(), policy(namespaces={"": "platform"}))
    assert mapped.address == Address("store", "platform/orders")


@pytest.mark.bad_input(30)
def test_the_global_namespace_needs_no_mapping_where_the_address_does_not_use_it():
    aim = kubernetes(parts=("team", "{installation}"))
    assert wanted(output_set({"host": None}, key=GLOBAL), aim).address.path == "team/orders"


def test_a_sink_may_have_a_place_of_its_own_for_the_global_namespace():
    assert wanted(output_set({"host": None}, key=GLOBAL)).address.path == "_global/orders"


# --- names ---------------------------------------------------------------------------------


@pytest.mark.bad_input(17)
@pytest.mark.bad_input(18)
@given(NAMES, st.sampled_from(KeyStyle))
def test_odd_outputs_get_legal_keys_of_their_own_or_the_target_is_held(names: set[str], style: KeyStyle):
    aim = kubernetes(key_style=style)
    (mapped,) = map_target(named(*names), rule(aim), aim, policy())
    assert mapped.address == Address("store", "shop/orders")
    match mapped:
        case Wanted(keys=keys):
            assert len(keys) == len(names)
            assert all(re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) for key in keys)
            assert not any(key == "." or key.startswith("..") for key in keys)
        case Unmappable(reason=reason):
            assert "meet at key" in reason or "empty" in reason


@pytest.mark.bad_input(17)
@given(NAMES)
def test_an_odd_output_is_never_a_step_in_a_path(names: set[str]):
    aim = per_output(naming=kubernetes().naming)
    mapped = map_target(named(*names), rule(aim), aim, policy())
    for one in mapped:
        if isinstance(one, Wanted):
            assert re.fullmatch(r"shop/[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?", one.address.path)
        else:
            assert one.reason


@pytest.mark.bad_input(17)
def test_an_output_without_a_name_holds_the_target_at_its_address():
    held = unmappable(named("", "host"), kubernetes())
    assert (held.address, held.reason) == (Address("store", "shop/orders"), "the name is empty")


@pytest.mark.bad_input(18)
@pytest.mark.parametrize(
    ("aim", "names", "place"),
    [
        (target(key_style=KeyStyle.UPPER_SNAKE), ("A_b", "a-b"), "key 'A_B'"),
        (target(key_style=KeyStyle.UPPER_SNAKE), ("e\u0301", "e\u0300"), "key 'E_'"),
        (per_output(key_style=KeyStyle.UPPER_SNAKE), ("A_b", "a-b"), "address 'shop/A_B'"),
        (per_output(naming=kubernetes().naming), ("A_b", "a-b"), "address 'shop/a-b'"),
        (per_output(naming=Caseless()), ("TOKEN", "token"), "address 'shop/token'"),
    ],
)
def test_outputs_whose_names_meet_hold_the_whole_target_and_are_both_named(aim, names, place):
    first, second = sorted(names)
    mapped = map_target(named("other", *names), rule(aim), aim, policy())
    assert {held.reason for held in mapped if isinstance(held, Unmappable)} == {
        f"outputs {first!r} and {second!r} meet at {place}"
    }
    assert len(mapped) == (1 if aim.layout is Layout.BUNDLE else 2), "each place is kept"


@pytest.mark.bad_input(18)
def test_names_that_differ_by_normal_form_only_keep_apart():
    one = wanted(named("\u00e9", "e\u0301"), kubernetes())
    assert len(one.keys) == 2


@given(NAMES)
def test_raw_names_of_a_sink_that_takes_any_are_the_outputs_own(names: set[str]):
    assert set(wanted(named(*names)).keys) == names


@pytest.mark.bad_input(31)
@pytest.mark.parametrize("name", ["a/b", "My App", "Orders", "x" * 254, "../../etc", "-", "\u202e"])
def test_an_odd_installation_gets_a_legal_address_in_its_own_namespace(name):
    outputs = output_set({"host": None}, key=InstallationKey("shop", name))
    address = wanted(outputs, kubernetes(parts=("{namespace}", "{installation}"))).address.path
    assert re.fullmatch(r"shop/[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?", address)


@pytest.mark.bad_input(31)
@pytest.mark.parametrize("namespace", ["Shop", "a/b", "..", "x" * 64])
def test_a_namespace_that_is_no_legal_one_holds_the_target(namespace):
    held = unmappable(output_set({"host": None}, key=InstallationKey(namespace, "orders")), kubernetes())
    assert held.address is None
    assert "not a legal Kubernetes namespace" in held.reason


@pytest.mark.bad_input(32)
@pytest.mark.parametrize("mapping", [{}, {"shop": "kube-system"}])
def test_kubernetes_own_namespaces_are_refused_mapped_or_not(mapping):
    key = KEY if mapping else InstallationKey("kube-system", "orders")
    held = unmappable(output_set({"host": None}, key=key), kubernetes(), namespaces=mapping)
    assert "kube-system" in held.reason


def test_a_missing_output_holds_the_target_that_uses_it_and_is_named():
    held = unmappable(named("user"), target(keys={"DSN": DSN, "USER": FromOutput("user")}))
    assert held.reason == "output 'password' is not among the selected outputs"
    assert held.address == Address("store", "shop/orders")


# --- the revision --------------------------------------------------------------------------

FIELDS = {"user": None, "password": None, "host": None}
BASE = target(keys={"DSN": DSN, "HOST": FromOutput("host")}, attributes={"type": "Opaque"})


def revision(outputs: OutputSet, aim: Target = BASE) -> str:
    return wanted(outputs, aim).revision


def renewed(outputs: OutputSet, name: str) -> OutputSet:
    """The same outputs, one of them from a later result."""
    old = outputs.outputs[name]
    later = SelectedOutput(ref=replace(old.ref, result_id="0009"), sensitive=False, type="string")
    return replace(outputs, outputs={**outputs.outputs, name: later})


@given(st.permutations(list(FIELDS)), st.permutations(["DSN", "HOST"]))
def test_the_revision_does_not_depend_on_the_order_of_anything(names, keys):
    shuffled = replace(BASE, keys={key: (BASE.keys or {})[key] for key in keys})
    assert revision(named(*names), shuffled) == revision(named(*FIELDS))


def test_the_revision_does_not_depend_on_the_order_of_attributes():
    attributes = {"type": "Opaque", "label:x": "1"}
    backwards = dict(reversed(attributes.items()))
    assert list(backwards) != list(attributes)
    assert revision(named(*FIELDS), replace(BASE, attributes=backwards)) == revision(
        named(*FIELDS), replace(BASE, attributes=attributes)
    )


@given(st.sets(st.text(max_size=20), max_size=4))
def test_the_revision_does_not_depend_on_outputs_it_does_not_use(extra: set[str]):
    assert revision(named(*FIELDS, *extra)) == revision(named(*FIELDS))


def test_a_newer_run_that_renewed_nothing_used_leaves_the_revision():
    outputs = named(*FIELDS, "unused")
    later = replace(renewed(outputs, "unused"), result_id="0009", run_id="run-0009")
    assert revision(later) == revision(outputs)


@pytest.mark.parametrize("name", list(FIELDS))
def test_a_newer_result_of_any_used_output_changes_the_revision(name):
    assert revision(renewed(named(*FIELDS), name)) != revision(named(*FIELDS))


@pytest.mark.parametrize(
    "other",
    [
        {"keys": {"DSN": DSN, "HOSTNAME": FromOutput("host")}},
        {"keys": {"DSN": DSN, "HOST": FromOutput("user")}},
        {"keys": {"DSN": DSN, "HOST": FromTemplate((Placeholder("host"),))}},
        {"keys": {"DSN": FromTemplate((*DSN.pieces, "/")), "HOST": FromOutput("host")}},
        {"keys": {"DSN": FromTemplate((*DSN.pieces[:-1], "@db2")), "HOST": FromOutput("host")}},
        {
            "keys": {
                "DSN": FromTemplate((*DSN.pieces[:3], Placeholder("password"), "@db")),
                "HOST": FromOutput("host"),
            }
        },
        {"attributes": {"type": "other"}},
        {"attributes": {"type": "Opaque", "label:x": "1"}},
    ],
)
def test_another_layout_changes_the_revision(other):
    assert revision(named(*FIELDS), replace(BASE, **other)) != revision(named(*FIELDS))


def test_the_two_layouts_have_different_revisions_for_the_same_key():
    aim = per_output(parts=("{namespace}", "{installation}-{output}"))
    (one,) = several(named("value"), aim)
    assert one.revision != wanted(named("value"), replace(aim, layout=Layout.BUNDLE)).revision


def test_the_digest_of_a_value_is_no_part_of_the_revision():
    assert revision(output_set(dict.fromkeys(FIELDS, b"1"))) == revision(
        output_set(dict.fromkeys(FIELDS, b"2"))
    )
