"""Makes an OpenBao behind a proxy one like HashiCorp Vault: no check-and-set for metadata, no lists with them.

Those are all the differences that are imitated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.servers.http_proxy import Asked, HttpProxy, Reply, answer, on, rewrite_reply, rewrite_request

UNSUPPORTED = {"errors": ["1 error occurred:\n\t* unsupported path\n\n"]}
OPENBAO_ONLY = ("metadata_cas", "current_metadata_version", "metadata_cas_required")


def act_as_vault(proxy: HttpProxy) -> None:
    proxy.rules.add(on("LIST", path="/detailed-metadata/"), answer(404, UNSUPPORTED))
    proxy.rules.add(on("POST", "PATCH", path="/metadata/"), rewrite_request(_without_metadata_cas))
    proxy.rules.add(on("GET", path="/metadata/"), rewrite_reply(_without_metadata_versions))


def _without_metadata_cas(asked: Asked) -> Asked:
    body = {name: value for name, value in json.loads(asked.body).items() if name not in OPENBAO_ONLY}
    content = json.dumps(body).encode()
    headers = tuple((n, str(len(content)) if n.lower() == "content-length" else v) for n, v in asked.headers)
    return replace(asked, body=content, headers=headers)


def _without_metadata_versions(reply: Reply) -> Reply:
    body = json.loads(reply.body) if reply.body else {}
    data = body.get("data")
    if not data:
        return reply
    kept: Mapping[str, Any] = {name: value for name, value in data.items() if name not in OPENBAO_ONLY}
    return Reply.of(reply.status, {**body, "data": kept}, {})
