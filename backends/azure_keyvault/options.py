"""What the configuration may say about this sink and its targets, and what the sink can do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictStr

from backends.azure_keyvault.marks import ENCODING_TAG, MAX_TAG, PREFIX, utf16_length
from backends.azure_keyvault.names import MAX_NAME
from backends.clients.azure_options import AzureOptions
from backends.clients.client_options import ClientOptions
from backends.contract import Capabilities, Layout, TargetOptions, TargetShape

MAX_VALUE: Final = 25 * 1024
MAX_CONTENT_TYPE: Final = 255
MAX_TAGS: Final = 7
"""Of the 15 tags a version takes; the rest is the mark's."""

CAPABILITIES: Final = Capabilities(
    compare_and_set=False,
    atomic_mark=True,
    lists_values=False,
    layouts=frozenset({Layout.PER_OUTPUT}),
    max_secret_bytes=None,
    max_value_bytes=MAX_VALUE,
    max_address_length=MAX_NAME,
    max_key_length=None,
)


def _moment(given: object) -> object:
    """RFC 3339 text with its zone, or what YAML makes of one, as text in UTC with whole seconds."""
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError:
            raise ValueError("should be a time such as 2026-12-31T23:59:59Z") from None
    if not isinstance(given, datetime):
        return given
    if given.tzinfo is None:
        raise ValueError("should be a time with its zone, such as 2026-12-31T23:59:59Z")
    seconds = int(given.timestamp())
    if moment_text(seconds) == str(seconds):
        raise ValueError("should be a time that the calendar still has in UTC")
    return moment_text(seconds)


def moment_text(seconds: int) -> str:
    """Seconds since 1970 as RFC 3339 text in UTC; beyond the calendar, the number itself."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def moment_seconds(text: str) -> int:
    """The same the other way round. Raises `ValueError`."""
    return int(datetime.fromisoformat(text).timestamp())


def _up_to(limit: int, what: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not 0 < utf16_length(text) <= limit:
            raise ValueError(f"{what} has from 1 to {limit} characters")
        return text

    return check


def _tag_name(name: str) -> str:
    if name.lower().startswith(PREFIX) or name.lower() == ENCODING_TAG:
        raise ValueError(f"{name!r} is reserved: the sink itself writes it")
    return _up_to(MAX_TAG, "the name of a tag")(name)


def _few(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > MAX_TAGS:
        raise ValueError(f"should be at most {MAX_TAGS} tags: the sink needs the others itself")
    return tags


Moment = Annotated[StrictStr, BeforeValidator(_moment)]
TagName = Annotated[StrictStr, AfterValidator(_tag_name)]
TagValue = Annotated[StrictStr, AfterValidator(_up_to(MAX_TAG, "the value of a tag"))]


class AzureKeyVaultOptions(AzureOptions):
    """A key vault's secrets."""

    purge: StrictBool = False
    """Purges what was deleted, which cannot be undone, and takes the right to. Default: the vault keeps
    a deleted secret for its retention time, and a new one of that name recovers it first."""

    def places(self) -> list[tuple[object, ...]]:
        """`backends.contract.SaysPlaces`: a vault is a host, however one logs in."""
        parts = urlsplit(self.vault_url)
        return [(parts.hostname, parts.port or 443)]


class AzureKeyVaultTarget(TargetOptions):
    """One secret for each output."""

    model_config = ClientOptions.model_config

    name: StrictStr = "{namespace}-{installation}-{output}"
    """Template of the secret's name. Names that differ in case alone are one secret."""
    content_type: Annotated[StrictStr, AfterValidator(_up_to(MAX_CONTENT_TYPE, "a content type"))] | None = (
        None
    )
    """Content type of the secrets. Default: `text/plain`, or `application/octet-stream` for what is no
    UTF-8 text and stored as base64."""
    expires: Moment | None = None
    """Time with its zone after which the secrets should not be used; Azure does not enforce it."""
    not_before: Moment | None = None
    """Time with its zone before which they should not be used."""
    tags: Annotated[dict[TagName, TagValue], AfterValidator(_few)] = Field(default_factory=dict)
    """Tags beside the mark's, at most 7."""

    def shape(self) -> TargetShape:
        given = {"content-type": self.content_type, "expires": self.expires, "not-before": self.not_before}
        attributes = {name: text for name, text in given.items() if text is not None}
        attributes |= {f"tag:{name}": text for name, text in self.tags.items()}
        return TargetShape(parts=(self.name,), layout=Layout.PER_OUTPUT, attributes=attributes)
