"""What a bundle's JSON text says of outputs, and which texts say nothing that can be relied on.

Pure. Excludes which run's bundle counts (test_porter_load).
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from porter_world import PLAIN, SENSITIVE, bundle

from syncer.core.model import Declaration
from syncer.sources.porter.bundle import MAX_BUNDLE, Bundle, parse_bundle


def read(document: object) -> Bundle:
    found = parse_bundle(json.dumps(document))
    assert isinstance(found, Bundle), found
    return found


def only(schema: object, **rest: object) -> Declaration:
    """The declaration of the one output with this schema."""
    document = {"outputs": {"o": {"definition": "d"}}, "definitions": {"d": schema}, **rest}
    return read(document).declared["o"]


def test_outputs_are_declared_with_type_and_sensitivity():
    found = read(bundle(host=PLAIN, password=SENSITIVE))
    assert found.version == "1.2.3"
    assert found.declared == {
        "host": Declaration(sensitive=False, type="string"),
        "password": Declaration(sensitive=True, type="string"),
    }


@pytest.mark.parametrize(
    ("schema", "type_"),
    [
        ({"type": "integer"}, "integer"),
        ({"type": ["string", "null"]}, "[string null]"),
        ({}, "<nil>"),
        ({"type": None}, "<nil>"),
        ({"type": "string", "contentEncoding": "base64"}, "string"),
    ],
)
def test_types_are_printed_as_porter_does(schema, type_):
    assert only(schema).type == type_


@pytest.mark.parametrize(
    "rest", [{"custom": {"sh.porter": {}}}, {"requiredExtensions": ["sh.porter.file-parameters"]}]
)
def test_base64_text_is_a_file_where_the_bundle_knows_files(rest):
    assert only({"type": "string", "contentEncoding": "base64"}, **rest).type == "file"
    assert only({"type": "object", "contentEncoding": "base64"}, **rest).type == "object"


@pytest.mark.bad_input(19)
@pytest.mark.parametrize(
    "document",
    [
        {"outputs": {"o": {"definition": "gone"}}, "definitions": {}},
        {"outputs": {"o": {}}},
        {"outputs": {"o": None}},
        {"outputs": {"o": {"definition": {"$ne": ""}}}, "definitions": None},
        {"outputs": {"o": {"definition": "d"}}, "definitions": {"d": True}},
    ],
)
def test_an_output_without_a_definition_is_sensitive_and_not_shown_by_porter(document):
    found = read(document)
    assert found.declared["o"].sensitive
    assert found.shown("o") is None


@pytest.mark.bad_input(21)
@pytest.mark.parametrize("flag", ["true", "false", 0, 1, [], {}])
def test_write_only_that_is_no_boolean_is_sensitive(flag):
    assert only({"type": "string", "writeOnly": flag}).sensitive


@pytest.mark.parametrize("flag", [False, None])
def test_write_only_that_is_false_or_null_is_plain(flag):
    assert not only({"type": "string", "writeOnly": flag}).sensitive


@pytest.mark.bad_input(16)
def test_internal_outputs_are_not_declared():
    found = read(
        bundle(state={"$comment": "porter-internal"}, **{"io.cnab.outputs.invocationImageLogs": PLAIN})
    )
    assert found.declared == {}
    assert found.internal == {"state", "io.cnab.outputs.invocationImageLogs"}
    assert found.shown("state") is None


@pytest.mark.bad_input(28)
@pytest.mark.parametrize("apply_to", [["no-such-action"], [], None, "install", 7, {"a": 1}])
def test_apply_to_changes_nothing_whatever_it_names(apply_to):
    document = bundle(host=PLAIN)
    document["outputs"]["host"]["applyTo"] = apply_to
    assert list(read(document).declared) == ["host"]


def test_actions_modify_if_they_are_standard_or_say_so():
    found = read(
        {"actions": {"rotate": {"modifies": True}, "ping": {}, "odd": {"modifies": "true"}, "x": None}}
    )
    modifying = [name for name in ("install", "upgrade", "uninstall", "rotate") if found.modifies(name)]
    assert modifying == ["install", "upgrade", "uninstall", "rotate"]
    assert not any(found.modifies(name) for name in ("ping", "odd", "x", "unknown"))


def test_a_bundle_without_outputs_declares_none():
    assert read({}).declared == {}


@pytest.mark.bad_input(22)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"outputs": {}} x', "not JSON"),
        ("[" * 10_000 + "]" * 10_000, "nested"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "nested"),
        ('{"outputs": {}, "outputs": {"a": {}}}', "twice"),
        ('{"definitions": {"d": {"writeOnly": true, "writeOnly": false}}}', "twice"),
        ('{"x": 1e999}', "out of range"),
        ('{"x": -1e999}', "out of range"),
        ('{"x": ' + "9" * 5_000 + "}", "out of range"),
        ('{"x": NaN}', "none"),
        ('{"x": Infinity}', "none"),
        ("[]", "no JSON object"),
        ("null", "no JSON object"),
        ('"text"', "no JSON object"),
    ],
)
def test_texts_that_cannot_be_relied_on_say_why(text, reason):
    found = parse_bundle(text)
    assert isinstance(found, str)
    assert reason in found


@pytest.mark.bad_input(22)
def test_a_bundle_of_fifty_megabytes_is_not_even_parsed():
    assert "larger than" in str(parse_bundle("[" * (MAX_BUNDLE + 1)))


@pytest.mark.bad_input(22)
def test_integers_beyond_two_to_the_53_are_read_as_porter_reads_them():
    assert read({"parameters": {"p": {"default": 2**53 + 1}}}).declared == {}


def test_a_large_bundle_is_read_although_it_is_not_kept():
    assert read({**bundle(host=PLAIN), "custom": {"x": "y" * 300_000}}).declared["host"].type == "string"


@pytest.mark.bad_input(23)
@pytest.mark.parametrize("outputs", [None, [], "x", 7, {"": {}}, {"\ud800": {}}])
def test_outputs_that_are_none_hold(outputs):
    assert "outputs cannot be read" in str(parse_bundle(json.dumps({"outputs": outputs})))


@pytest.mark.bad_input(23)
@pytest.mark.parametrize("bundle_", [None, 7, b"{}", {"outputs": {}}, ["{}"]])
def test_a_bundle_that_is_no_text_holds(bundle_):
    assert parse_bundle(bundle_) == "the bundle is missing"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "outputs": JSON
            | st.dictionaries(st.text(max_size=3), st.fixed_dictionaries({"definition": JSON})),
            "definitions": JSON,
            "actions": JSON,
            "custom": JSON,
            "requiredExtensions": JSON,
            "version": JSON,
        },
    )
)
def test_no_bundle_raises_and_what_is_declared_is_well_formed(document):
    found = parse_bundle(json.dumps(document))
    if isinstance(found, Bundle):
        assert all(name and declared.type for name, declared in found.declared.items())


@given(st.text())
def test_no_text_raises(text):
    assert isinstance(parse_bundle(text), str | Bundle)
