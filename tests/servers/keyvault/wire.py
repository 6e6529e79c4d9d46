"""The JSON of answers: SecretBundle, SecretItem, their deleted kin, pages and errors.

Follows the definitions in rest/api/keyvault/secrets. Fields without a value are absent, as in the service's
recorded answers. A skiptoken is opaque there; here it is the last name of the page it follows, so that a list
goes on where it was although secrets come and go between its pages.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from tests.servers.keyvault.model import Deleted, Deleting, Rules, Secret, VaultError, Version
from tests.servers.keyvault.requests import bad_parameter

Body: TypeAlias = dict[str, Any]


def bundle(url: str, secret: Secret, version: Version, rules: Rules, *, with_value: bool) -> Body:
    """SecretBundle; with the dates of a DeletedSecretBundle when the secret is deleted."""
    value = {"value": version.value} if with_value else {}
    identifier = f"{url}/secrets/{secret.name}/{version.version}"
    return value | _deletion(url, secret) | _described(identifier, version, rules)


def item(url: str, secret: Secret, rules: Rules) -> Body:
    """SecretItem: the latest version's attributes under an identifier without version."""
    return _deletion(url, secret) | _described(f"{url}/secrets/{secret.name}", secret.latest, rules)


def version_item(url: str, secret: Secret, version: Version, rules: Rules) -> Body:
    """SecretItem of one version."""
    return _described(f"{url}/secrets/{secret.name}/{version.version}", version, rules)


def page(items: list[Body], link: str | None) -> Body:
    """SecretListResult; nextLink is null on the last page."""
    return {"value": items, "nextLink": link}


def next_link(address: str, query: Mapping[str, str], last: str, size: int) -> str:
    """The address of the page after `last`."""
    token = base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")
    return f"{address}?api-version={quote(query['api-version'])}&$skiptoken={token}&maxresults={size}"


def skipped_to(query: Mapping[str, str]) -> str:
    """The last name of the page before, "" at the beginning."""
    token = query.get("$skiptoken", "")
    try:
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        raise bad_parameter("The query parameter $skiptoken is not valid.") from None


def error(refusal: VaultError) -> Body:
    """KeyVaultError."""
    inner = {} if refusal.inner is None else {"innererror": {"code": refusal.inner}}
    return {"error": {"code": refusal.code, "message": refusal.message} | inner}


def _described(identifier: str, version: Version, rules: Rules) -> Body:
    given = {"contentType": version.content_type, "tags": version.tags}
    attributes = {
        "enabled": version.enabled,
        "nbf": version.not_before,
        "exp": version.expires,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": rules.recovery_level,
        "recoverableDays": rules.retention_days,
    }
    return {"id": identifier, "attributes": _present(attributes)} | _present(given)


def _deletion(url: str, secret: Secret) -> Body:
    match secret.phase:
        case Deleting(deleted=deleted, purge=purge) | Deleted(deleted, purge):
            recovery = f"{url}/deletedsecrets/{secret.name}"
            return {"recoveryId": recovery, "deletedDate": deleted, "scheduledPurgeDate": purge}
    return {}


def _present(fields: Body) -> Body:
    return {key: value for key, value in fields.items() if value is not None}
