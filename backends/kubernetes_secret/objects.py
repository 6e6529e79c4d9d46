"""Secrets as the API server writes them, from and to the contract's values. Pure.

A value leaves its base64 for a `SecretValue` here, and nowhere else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from backends.contract import DesiredSecret, ObservedSecret, Owner, Version
from backends.errors import SinkUnavailable
from backends.kubernetes_secret.marks import (
    found_fields,
    index_labels,
    is_indexed,
    mark_annotations,
    merged,
    named,
    written_attributes,
)
from backends.marking import parse_mark
from backends.secret_value import SecretValue

Json = dict[str, Any]

DEFAULT_TYPE: Final = "Opaque"


def address_of(secret: Json) -> str:
    return f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"


def version_of(secret: Json) -> Version:
    return Version(f"{secret['metadata']['uid']}/{secret['metadata']['resourceVersion']}")


def observed(secret: Json, owner: Owner) -> ObservedSecret:
    """A Secret with its data, judged."""
    address, annotations, labels = address_of(secret), _annotations(secret), _labels(secret)
    mark, foreign = parse_mark(found_fields(annotations), address, owner)
    return ObservedSecret(
        address=address,
        version=version_of(secret),
        mark=mark,
        foreign=foreign,
        data=_data(secret, address),
        attributes=_attributes(secret, annotations, labels),
        intact=mark is not None and foreign is None and is_indexed(mark, labels),
    )


def created(desired: DesiredSecret, namespace: str, name: str) -> Json:
    """The body that creates it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": _wanted_labels(desired),
            "annotations": _wanted_annotations(desired),
        },
        "type": desired.attributes.get("type", DEFAULT_TYPE),
        "data": _encoded(desired),
    }


def replaced(desired: DesiredSecret, current: Json) -> Json:
    """The body that replaces `current`: data ours whole, others' labels, owners, finalizers kept."""
    written = written_attributes(_annotations(current))
    metadata = {name: value for name, value in current["metadata"].items() if name != "managedFields"}
    labels = merged(_labels(current), _wanted_labels(desired), written, "label")
    annotations = merged(_annotations(current), _wanted_annotations(desired), written, "annotation")
    metadata |= {"labels": labels, "annotations": annotations}
    return {**current, "metadata": metadata, "data": _encoded(desired)}


def _wanted_labels(desired: DesiredSecret) -> dict[str, str]:
    return named(desired.attributes, "label") | index_labels(desired.mark)


def _wanted_annotations(desired: DesiredSecret) -> dict[str, str]:
    return named(desired.attributes, "annotation") | mark_annotations(desired.mark, desired.attributes)


def _encoded(desired: DesiredSecret) -> dict[str, str]:
    return {key: base64.b64encode(value.reveal()).decode("ascii") for key, value in desired.data.items()}


def _data(secret: Json, address: str) -> dict[str, SecretValue]:
    encoded: Mapping[str, str] = secret.get("data") or {}
    try:
        return {key: SecretValue(base64.b64decode(text)) for key, text in encoded.items()}
    except (binascii.Error, ValueError, TypeError):
        raise SinkUnavailable(f"{address}: its data cannot be read") from None


def _attributes(secret: Json, annotations: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    """What the last write asked for, with the values that are there now."""
    now = {
        "type": str(secret.get("type") or DEFAULT_TYPE),
        **{f"label:{name}": text for name, text in labels.items()},
        **{f"annotation:{name}": text for name, text in annotations.items()},
    }
    return {name: now[name] for name in written_attributes(annotations) if name in now}


def _annotations(secret: Json) -> Mapping[str, str]:
    return secret["metadata"].get("annotations") or {}


def _labels(secret: Json) -> Mapping[str, str]:
    return secret["metadata"].get("labels") or {}
