"""What a target that shows an installation says of it: run, outputs, and where each is found. Pure.

Names, types and addresses only, as JSON; values are not its business. How a resource shows that is the
sink's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from syncer.core.mapping import Mapped, Wanted
from syncer.core.model import FromOutput

ATTRIBUTE: Final = "description"
"""The attribute of a desired secret that it travels in."""

_SERVICE_BINDING: Final = "servicebinding.io/"
_TEXT: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def described(mapped: Sequence[Mapped]) -> Iterator[Mapped]:
    """The same, with what is wanted of one installation described where a target shows it."""
    for one in mapped:
        if isinstance(one, Wanted) and one.target.shows is not None:
            description = _TEXT.encode(_description(one, one.target.shows, mapped))
            digest = hashlib.sha256(f"{one.revision}\0{description}".encode()).hexdigest()
            yield replace(one, description=description, revision=digest[: len(one.revision)])
        else:
            yield one


def _description(shown: Wanted, sink: str, mapped: Sequence[Mapped]) -> Mapping[str, object]:
    others = [one for one in mapped if one.target.shows is None]
    secrets = [one for one in others if isinstance(one, Wanted) and one.address.sink == sink]
    # NB: nobody can refer to a Secret of another namespace: those beside the resource come first.
    secrets.sort(key=lambda one: _folder(one) != _folder(shown))
    places = _places(secrets)
    bindings = [one for one in secrets if one.target.attributes.get("type", "").startswith(_SERVICE_BINDING)]
    return {
        "run": shown.outputs.run_id,
        "result": shown.outputs.result_id,
        "action": shown.outputs.action,
        "outputs": [
            {
                "name": name,
                "type": output.type,
                "sensitive": output.sensitive,
                **({"secret": places[name]} if name in places else {}),
            }
            for name, output in sorted(shown.outputs.outputs.items())
        ],
        **({"binding": bindings[0].address.path} if bindings else {}),
        "sinks": sorted({one.target.sink for one in others}),
    }


def _folder(wanted: Wanted) -> str:
    return wanted.address.path.rpartition("/")[0]


def _places(secrets: Sequence[Wanted]) -> Mapping[str, Mapping[str, str]]:
    """Of each output the first secret that holds its bytes as they are."""
    places: dict[str, Mapping[str, str]] = {}
    for secret in secrets:
        for key, source in secret.keys.items():
            if isinstance(source, FromOutput):
                places.setdefault(source.output, {"address": secret.address.path, "key": key})
    return places
