"""InstallationOutputs as the API server writes them, from and to the contract's values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from backends.contract import Conditions, DesiredSecret, ObservedSecret, Owner
from backends.errors import Refused
from backends.installation_outputs.conditions import are_current, conditions
from backends.installation_outputs.description import description_of
from backends.installation_outputs.status import is_intact, sealed, shown, values
from backends.kubernetes_secret.marks import found_fields, index_labels, is_indexed, mark_annotations, merged
from backends.kubernetes_secret.objects import address_of, version_of
from backends.marking import parse_mark

Json = dict[str, Any]

GROUP: Final = "outputs.porter.sh/v1alpha1"
KIND: Final = "InstallationOutputs"
PLURAL: Final = "installationoutputs"
OPERATOR_GROUP: Final = "getporter.org/v1"
OPERATOR_KIND: Final = "Installation"

Owners = Sequence[Json] | None
"""Owner references to the operator's Installation: one or none; None where that cannot be told."""


def observed(resource: Json, owner: Owner, known: Conditions, *, with_values: bool) -> ObservedSecret:
    """A resource, judged; with the values that are shown, unless one of them is cut."""
    metadata, status = resource["metadata"], resource.get("status") or {}
    address = address_of(resource)
    mark, foreign = parse_mark(found_fields(metadata.get("annotations") or {}), address, owner)
    intact = (
        mark is not None
        and foreign is None
        and is_indexed(mark, metadata.get("labels") or {})
        and is_intact(status, mark.revision, metadata.get("generation"))
        and are_current(known(mark.namespace, mark.installation), status.get("conditions") or ())
    )
    return ObservedSecret(
        address=address,
        version=version_of(resource),
        mark=mark,
        foreign=foreign,
        data=values(status) if with_values else None,
        intact=intact,
    )


def created(desired: DesiredSecret, owners: Owners) -> Json:
    """The body that creates it. NB: a status is not taken here."""
    namespace, _, name = desired.address.partition("/")
    metadata = {
        "namespace": namespace,
        "name": name,
        "labels": index_labels(desired.mark),
        "annotations": mark_annotations(desired.mark, ()),
    } | ({"ownerReferences": list(owners)} if owners else {})
    return {"apiVersion": GROUP, "kind": KIND, "metadata": metadata, "spec": _spec(desired)}


def replaced(desired: DesiredSecret, current: Json, owners: Owners) -> Json:
    """The body that makes `current` ours: others' labels, annotations, owners and finalizers are kept.

    Equal to `current` where nothing has to be written. Raises `Refused` where it is another installation's.
    """
    if current.get("spec") != _spec(desired):
        reason = "it is made for another installation, which cannot be changed: delete it, or rename one"
        raise Refused(f"{desired.address}: {reason}")
    metadata = dict(current["metadata"])
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    metadata["labels"] = merged(labels, index_labels(desired.mark), (), "label")
    metadata["annotations"] = merged(annotations, mark_annotations(desired.mark, ()), (), "annotation")
    if owners is not None:
        present = metadata.pop("ownerReferences", [])
        wanted = [*(one for one in present if not _is_operators(one)), *owners]
        metadata |= {"ownerReferences": wanted} if wanted else {}
    return {**current, "metadata": metadata}


def with_status(desired: DesiredSecret, current: Json, known: Conditions, now: str) -> Json:
    """The body that shows the outputs; `now` as the API server writes times. Raises `Refused`."""
    described, mark = description_of(desired), desired.mark
    generation = current["metadata"]["generation"]
    status = shown(desired, described, generation)
    standing = (current.get("status") or {}).get("conditions") or ()
    stated = conditions(
        described.sinks,
        known(mark.namespace, mark.installation),
        standing,
        now=now,
        generation=generation,
    )
    return {**current, "status": sealed(status, stated)}


def _spec(desired: DesiredSecret) -> Json:
    return {"installation": {"namespace": desired.mark.namespace, "name": desired.mark.installation}}


def _is_operators(reference: Json) -> bool:
    group = str(reference.get("apiVersion")).partition("/")[0]
    return (group, reference.get("kind")) == (OPERATOR_GROUP.partition("/")[0], OPERATOR_KIND)
