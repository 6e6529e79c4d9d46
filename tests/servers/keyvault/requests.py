"""What a request asks for: its operation, name and version by its address, and the checks on its body.

Follows rest/api/keyvault/secrets (addresses, bodies, the pattern of names, 25 results a page),
key-vault/secrets/about-secrets (sizes) and key-vault/general/authentication-requests-and-responses
(api-version has no default). Names are told apart without regard to case, and a version is 32 characters that
the service chose: key-vault/general/about-keys-secrets-certificates; that page has names begin with a letter,
which the service does not ask for (github.com/MicrosoftDocs/azure-docs/issues/99541). An empty value is a value
(github.com/microsoft/azure-container-apps/issues/1291).

The code BadParameter and its texts are those of reports: an unknown version in
github.com/Azure/azure-sdk-for-python/issues/28595, too many tags or too long a value in
github.com/hashicorp/terraform-provider-azurerm/issues/16780 and github.com/Azure/azure-sdk-for-node/issues/2198.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.servers.keyvault.model import Changes, NewVersion, Operation, Rules, VaultError

API_VERSIONS = (
    "2015-06-01",
    "2016-10-01",
    "7.0",
    "7.1",
    "7.2",
    "7.3",
    "7.4",
    "7.5",
    "7.6",
    "2025-07-01",
    "2026-04-01",
)
"""Those the pages of rest/api/keyvault/secrets and the SDK know; previews are left out."""

_OF_VERSION = {"GET": Operation.GET, "PATCH": Operation.UPDATE}
_OF_SECRET = {**_OF_VERSION, "PUT": Operation.SET, "DELETE": Operation.DELETE}
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")


@dataclass(frozen=True, slots=True)
class Call:
    """One request by its method and address."""

    operation: Operation
    name: str | None = None
    version: str | None = None


def call_of(method: str, path: str) -> Call:
    """The operation behind an address; a latest version is asked for with an empty one at the end."""
    match [part for part in path.split("/") if part]:
        case ["secrets"] if method == "GET":
            return Call(Operation.LIST)
        case ["secrets", name, "versions"] if method == "GET":
            return Call(Operation.VERSIONS, name)
        case ["secrets", name]:
            return Call(_OF_SECRET.get(method, Operation.UNKNOWN), name)
        case ["secrets", name, version]:
            return Call(_OF_VERSION.get(method, Operation.UNKNOWN), name, version)
        case ["deletedsecrets", *rest]:
            return _deleted_call(method, rest)
    return Call(Operation.UNKNOWN)


def _deleted_call(method: str, rest: list[str]) -> Call:
    match (method, rest):
        case ("GET", []):
            return Call(Operation.LIST_DELETED)
        case ("GET", [name]):
            return Call(Operation.GET_DELETED, name)
        case ("POST", [name, "recover"]):
            return Call(Operation.RECOVER, name)
        case ("DELETE", [name]):
            return Call(Operation.PURGE, name)
    return Call(Operation.UNKNOWN)


def check_call(call: Call, query: Mapping[str, str]) -> None:
    """Refuses an address that is none, a missing or unknown api-version, and a name that is none."""
    version = query.get("api-version")
    if version is None:
        raise bad_parameter("The query parameter api-version must be specified.")
    if version not in API_VERSIONS:
        raise bad_parameter(
            f"The specified version ({version}) is not recognized. "
            f"Consider using the latest supported version ({API_VERSIONS[-1]})."
        )
    if call.operation is Operation.UNKNOWN:
        raise VaultError(404, "NotFound", "This stand-in does not serve this operation.")
    if call.name is not None and not _NAME.fullmatch(call.name):
        raise bad_parameter("The name of a secret has to match ^[0-9a-zA-Z-]{1,127}$.")


def page_size(query: Mapping[str, str], rules: Rules) -> int:
    """get-secrets: up to 25 results; that more, or no number, is refused is assumed."""
    given = query.get("maxresults", str(rules.page))
    if not given.isdecimal() or not 1 <= int(given) <= rules.page:
        raise bad_parameter(f"The query parameter maxresults has to be between 1 and {rules.page}.")
    return int(given)


def new_version(body: bytes, rules: Rules) -> NewVersion:
    """The body of set-secret."""
    given = _object(body)
    value = given.get("value")
    if not isinstance(value, str) or len(value.encode()) > rules.value_bytes:
        raise _invalid("value")
    attributes = _attributes(given)
    return NewVersion(
        value=value,
        tags=_tags(given, rules),
        content_type=_content_type(given, rules),
        enabled=attributes.enabled is not False,
        not_before=attributes.not_before,
        expires=attributes.expires,
    )


def changes(body: bytes, rules: Rules) -> Changes:
    """The body of update-secret."""
    given = _object(body)
    attributes = _attributes(given)
    return Changes(
        tags=_tags(given, rules),
        content_type=_content_type(given, rules),
        enabled=attributes.enabled,
        not_before=attributes.not_before,
        expires=attributes.expires,
    )


def bad_parameter(message: str) -> VaultError:
    """400 in the service's words."""
    return VaultError(400, "BadParameter", message)


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise bad_parameter("The request body has to be a JSON object.")
    return given


def _attributes(given: Mapping[str, Any]) -> Changes:
    attributes = given.get("attributes") or {}
    enabled, times = attributes.get("enabled"), [attributes.get(key) for key in ("nbf", "exp")]
    if not isinstance(enabled, bool | None) or not all(isinstance(each, int | None) for each in times):
        raise _invalid("attributes")
    return Changes(enabled=enabled, not_before=times[0], expires=times[1])


def _tags(given: Mapping[str, Any], rules: Rules) -> Mapping[str, str] | None:
    tags = given.get("tags")
    if tags is None:
        return None
    if not isinstance(tags, dict) or len(tags) > rules.tags:
        raise _invalid("tags")
    if not all(
        isinstance(text, str) and len(text) <= rules.tag_characters for text in (*tags, *tags.values())
    ):
        raise _invalid("tags")
    return tags


def _content_type(given: Mapping[str, Any], rules: Rules) -> str | None:
    content_type = given.get("contentType")
    if content_type is None:
        return None
    if not isinstance(content_type, str) or len(content_type) > rules.content_type_characters:
        raise _invalid("contentType")
    return content_type


def _invalid(name: str) -> VaultError:
    return bad_parameter(f"Property {name} has invalid value")
