"""The protos of the API: the committed code is theirs, and Porter's own messages are Porter's on the wire.

Reads descriptors and runs the generator, nothing else. Style and compatibility of the protos are buf's business
(`tox -e proto`), what the services answer is that of the tests of the API.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

from syncer.api._generated.installation.v1alpha1 import installation_pb2
from syncer.api._generated.porter.outputs.v1alpha1 import porter_bundle_pb2
from syncer.api._generated.porter.v1alpha1 import porter_pb2

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "syncer" / "api" / "_generated"

# Number, name in JSON and type; `*` is repeated, `?` has a presence of its own.
PORTERS_MESSAGES = {
    "Bundle": "1 repository string, 2 version string",
    "InstallationStatus": "1 runId string, 2 action string, 3 resultId string, 4 resultStatus string, "
    "5 created Timestamp, 6 modified Timestamp, 7 installed Timestamp, 8 uninstalled Timestamp, "
    "9 bundleReference string, 10 bundleVersion string, 11 bundleDigest string",
    "Calculated": "1 displayInstallationState string, 2 displayInstallationStatus string, "
    "3 resolvedParameters NullValue",
    "Installation": "1 id string, 2 schemaType string, 3 schemaVersion string, 4 name string, "
    "5 namespace string, 6 bundle Bundle, 7 credentialSets string*, 8 parameterSets string*, "
    "9 status InstallationStatus, 10 _calculated Calculated",
    "ListInstallationsRequest": "1 name string, 2 namespace string?, 3 limit int64?, 4 skip int64?, "
    "5 labels map<string, string>, 6 allNamespaces bool?",
    "ListInstallationsResponse": "1 installation Installation*",
    "PorterValue": "1 name string, 2 type string, 3 sensitive bool, 4 value Value",
    "ListInstallationLatestOutputRequest": "1 name string, 2 namespace string?",
    "ListInstallationLatestOutputResponse": "1 outputs PorterValue*",
}
SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT64: "int64",
}


def type_of(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return f"map<{', '.join(map(type_of, field.message_type.fields))}>"
    if field.message_type is not None:
        return field.message_type.name + "*" * field.is_repeated
    name = field.enum_type.name if field.enum_type is not None else SCALARS[field.type]
    return name + "*" * field.is_repeated + "?" * field.has_presence


def fields_of(message: Descriptor) -> str:
    fields = sorted(message.fields, key=lambda field: field.number)
    return ", ".join(f"{field.number} {field.json_name} {type_of(field)}" for field in fields)


def methods_of(file: FileDescriptor) -> Mapping[str, tuple[str, str]]:
    return {
        method.full_name: (method.input_type.full_name, method.output_type.full_name)
        for service in file.services_by_name.values()
        for method in service.methods
    }


def files_below(folder: Path) -> Mapping[str, bytes]:
    """NB: what Python keeps beside a module that was imported is not generated code."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }


def test_the_committed_code_is_what_the_protos_generate_byte_for_byte(tmp_path):
    subprocess.run([sys.executable, "proto/generate.py", tmp_path / "anew"], cwd=ROOT, check=True)
    assert files_below(COMMITTED) == files_below(tmp_path / "anew")


def test_porters_messages_are_all_there_and_no_others():
    assert installation_pb2.DESCRIPTOR.package == "installation.v1alpha1"
    assert set(installation_pb2.DESCRIPTOR.message_types_by_name) == set(PORTERS_MESSAGES)


@pytest.mark.parametrize("name", PORTERS_MESSAGES)
def test_a_message_of_porters_has_the_fields_it_has_at_porter(name):
    assert fields_of(installation_pb2.DESCRIPTOR.message_types_by_name[name]) == PORTERS_MESSAGES[name]


def test_porters_service_is_called_as_at_porter():
    package, messages = "porter.v1alpha1.Porter", "installation.v1alpha1"
    assert methods_of(porter_pb2.DESCRIPTOR) == {
        f"{package}.ListInstallations": (
            f"{messages}.ListInstallationsRequest",
            f"{messages}.ListInstallationsResponse",
        ),
        f"{package}.ListInstallationLatestOutputs": (
            f"{messages}.ListInstallationLatestOutputRequest",
            f"{messages}.ListInstallationLatestOutputResponse",
        ),
    }


def test_each_method_of_the_outputs_api_has_messages_of_its_own():
    package = "porter.outputs.v1alpha1"
    assert methods_of(porter_bundle_pb2.DESCRIPTOR) == {
        f"{package}.PorterBundle.{method}": (f"{package}.{method}Request", f"{package}.{method}Response")
        for method in ("ListInstallations", "ListInstallationRuns", "ListInstallationRunOutputs")
    }


def test_an_empty_value_is_told_from_none():
    output = porter_bundle_pb2.Output
    assert output.FromString(output(value=b"").SerializeToString()).HasField("value")
    assert not output.FromString(output().SerializeToString()).HasField("value")


def test_the_global_namespace_is_told_from_all_of_them():
    request = porter_bundle_pb2.ListInstallationsRequest
    assert request.FromString(request(namespace="").SerializeToString()).HasField("namespace")
    assert not request.FromString(request().SerializeToString()).HasField("namespace")
