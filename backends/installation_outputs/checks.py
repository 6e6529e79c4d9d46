"""What `doctor` says of this sink: whether the cluster knows the resource, and what this login may do."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from backends.clients.kubernetes import KubernetesClient, NotServed
from backends.contract import Finding, FindingLevel
from backends.installation_outputs.objects import GROUP, OPERATOR_GROUP, PLURAL
from backends.installation_outputs.owners import PLURAL as OPERATOR_PLURAL

MISSING: Final = "the InstallationOutputs CRD is not installed"

_WAY_OUT: Final = "install it with the chart (customResources.enabled), or apply installationoutputs.yaml"
_VERBS: Final = ("get", "list", "create", "update", "delete")


async def checked(client: KubernetesClient, namespaces: Collection[str] | None) -> tuple[Finding, ...]:
    """The findings; rights in these namespaces, or (None) in all of them."""
    definition = await _definition(client)
    if definition.level is FindingLevel.ERROR:
        return (definition,)
    rights = [await _rights(client, namespace) for namespace in namespaces or (None,)]
    return (definition, *(finding for findings in rights for finding in findings))


async def _definition(client: KubernetesClient) -> Finding:
    subject = f"{PLURAL}.{GROUP.partition('/')[0]}"
    try:
        await client.get(f"/apis/{GROUP}")
    except NotServed:
        return Finding(level=FindingLevel.ERROR, subject=subject, detail=f"{MISSING}: {_WAY_OUT}")
    return Finding(level=FindingLevel.OK, subject=subject, detail="is installed")


async def _rights(client: KubernetesClient, namespace: str | None) -> tuple[Finding, ...]:
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    wanted = [(verb, PLURAL) for verb in _VERBS] + [("update", f"{PLURAL}/status")]
    missing = [
        f"{verb} {resource}"
        for verb, resource in wanted
        if not await _may(client, verb, resource, GROUP, namespace)
    ]
    owners = await _may(client, "list", OPERATOR_PLURAL, OPERATOR_GROUP, namespace)
    return _own(f"{PLURAL} {where}", missing), *_operators(f"{OPERATOR_PLURAL} {where}", may_list=owners)


def _own(subject: str, missing: Collection[str]) -> Finding:
    if missing:
        detail = f"the right to {', '.join(missing)} is missing"
        return Finding(level=FindingLevel.ERROR, subject=subject, detail=detail)
    return Finding(level=FindingLevel.OK, subject=subject, detail=f"may {', '.join(_VERBS)}, and the status")


def _operators(subject: str, *, may_list: bool) -> tuple[Finding, ...]:
    if may_list:
        return ()
    detail = "the right to list is missing: the Porter operator's Installations are not set as owners"
    return (Finding(level=FindingLevel.WARNING, subject=subject, detail=detail),)


async def _may(client: KubernetesClient, verb: str, resource: str, group: str, namespace: str | None) -> bool:
    return await client.review_access(
        verb=verb, resource=resource, group=group.partition("/")[0], namespace=namespace
    )
