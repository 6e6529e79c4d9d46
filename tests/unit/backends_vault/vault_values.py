"""What the unit tests of the Vault sink share: a mark, and metadata as the server answers them."""

from __future__ import annotations

from typing import Any

from backends.contract import Mark, Owner

OWNER = Owner(instance="prod-eu-1", source="source-1")
MARK = Mark(
    instance="prod-eu-1",
    source="source-1",
    rule="default",
    target="0",
    address="porter/shop/orders",
    namespace="",
    installation="orders",
    installation_id="01HZX3QY7M5T8V9W0ABCDEFGHJ",
    run_id="run",
    result_id="result",
    revision="revision",
    content_id="content",
)


def version(*, deleted: str = "", destroyed: bool = False) -> dict[str, object]:
    return {"created_time": "2026-01-01T00:00:00.1Z", "deletion_time": deleted, "destroyed": destroyed}


def answer(
    versions: dict[str, dict[str, object]] | None = None, custom: object = None, **more: object
) -> dict[str, Any]:
    """The `data` of an answer about metadata; the newest version is the current one."""
    versions = {"1": version()} if versions is None else versions
    newest = max((int(number) for number in versions), default=0)
    return {"versions": versions, "current_version": newest, "custom_metadata": custom, **more}
