"""Reads the bundle that a run stores as JSON text: which outputs it declares, which actions modify.

Pure, and capped: the text comes out of a database that others write to. What cannot be
read, and what two readers could read in two ways, is a reason (`str`) and holds its
installation. `applyTo` is not kept: which action produced an output, its results say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn, TypeAlias

from syncer.core.model import Declaration
from syncer.sources.porter.documents import is_name

MAX_BUNDLE: Final = 16 * 1024 * 1024
"""Characters; MongoDB's documents end there too."""
MAX_INTEGER_DIGITS: Final = 308
"""More do not fit the number type Porter reads them into."""
STANDARD_ACTIONS: Final = frozenset({"install", "upgrade", "uninstall"})
"""They modify whatever the bundle says."""

_CACHED: Final = 256 * 1024
_FILE_PARAMETERS: Final = "sh.porter.file-parameters"

_Object: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What a bundle says about outputs."""

    version: str
    declared: Mapping[str, Declaration]
    """Every output but the internal ones."""
    internal: frozenset[str]
    """Outputs that Porter keeps for itself."""
    undefined: frozenset[str]
    """Those in `declared` without a definition: of unknown type, hence sensitive; Porter hides them."""
    modifying: frozenset[str]
    """Custom actions with `modifies: true`."""

    def shown(self, name: str) -> Declaration | None:
        """The declaration Porter's own commands go by; None for what they do not show."""
        return None if name in self.undefined else self.declared.get(name)

    def modifies(self, action: str) -> bool:
        return action in STANDARD_ACTIONS or action in self.modifying


def parse_bundle(text: object) -> Bundle | str:
    """The bundle, or why it cannot be told what it declares ("the bundle ...")."""
    if type(text) is not str:
        return "the bundle is missing"
    if len(text) > MAX_BUNDLE:
        return f"the bundle is larger than {MAX_BUNDLE} characters"
    return _cached(text) if len(text) <= _CACHED else _parse(text)


@lru_cache(maxsize=128)
def _cached(text: str) -> Bundle | str:
    """NB: thousands of installations share a few bundles; reading one takes longer than all the rest."""
    return _parse(text)


def _parse(text: str) -> Bundle | str:
    try:
        bundle: object = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except RecursionError:
        return "the bundle is nested too deeply"
    except _Ambiguous as error:
        return f"the bundle {error}"
    except ValueError:
        return "the bundle is not JSON"
    if not isinstance(bundle, dict):
        return "the bundle is no JSON object"
    return _read(bundle)


def _read(bundle: _Object) -> Bundle | str:
    outputs = bundle.get("outputs", {})
    if not isinstance(outputs, dict) or not all(map(is_name, outputs)):
        return "the bundle's outputs cannot be read"
    definitions, files = _object(bundle, "definitions"), _has_files(bundle)
    schemas = {name: _schema(output, definitions) for name, output in outputs.items()}
    internal = {name for name, schema in schemas.items() if _internal(name, schema)}
    version = bundle.get("version")
    return Bundle(
        version=version if isinstance(version, str) else "",
        declared={
            name: _declaration(schema, files=files)
            for name, schema in schemas.items()
            if name not in internal
        },
        internal=frozenset(internal),
        undefined=frozenset(name for name, schema in schemas.items() if schema is None),
        modifying=frozenset(
            name
            for name, action in _object(bundle, "actions").items()
            if isinstance(action, dict) and action.get("modifies") is True
        ),
    )


def _declaration(schema: _Object | None, *, files: bool) -> Declaration:
    """NB: sensitive unless the definition clearly says otherwise."""
    if schema is None:
        return Declaration(sensitive=True, type=_go_text(None))
    is_file = files and schema.get("type") == "string" and schema.get("contentEncoding") == "base64"
    plain = schema.get("writeOnly") is None or schema.get("writeOnly") is False
    return Declaration(sensitive=not plain, type="file" if is_file else _go_text(schema.get("type")))


def _internal(name: str, schema: _Object | None) -> bool:
    """The log of a run is never an output, even where a bundle declares it."""
    return name.startswith("io.cnab.outputs.") or (
        schema is not None and schema.get("$comment") == "porter-internal"
    )


def _schema(output: object, definitions: _Object) -> _Object | None:
    name = output.get("definition") if isinstance(output, dict) else None
    schema = definitions.get(name) if isinstance(name, str) else None
    return schema if isinstance(schema, dict) else None


def _has_files(bundle: _Object) -> bool:
    required = bundle.get("requiredExtensions")
    return "sh.porter" in _object(bundle, "custom") or (
        isinstance(required, list) and _FILE_PARAMETERS in required
    )


def _object(bundle: _Object, name: str) -> _Object:
    found = bundle.get(name)
    return found if isinstance(found, dict) else {}


def _go_text(value: object) -> str:
    """A JSON schema's `type` as Go's `%v` prints it."""
    match value:
        case str():
            return value
        case list():
            return f"[{' '.join(map(_go_text, value))}]"
        case _:
            return "<nil>"


class _Ambiguous(Exception):
    """JSON that another reader may read otherwise, or not at all. Quotes nothing."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Ambiguous("has the same key twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > MAX_INTEGER_DIGITS:
        raise _Ambiguous("holds a number out of range")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Ambiguous("holds a number out of range")
    return number


def _no_constant(_text: str) -> NoReturn:
    raise _Ambiguous("holds a number that is none")
