"""The one login to Kubernetes: configuration, TLS, tokens, connections, timeouts, errors.

Speaks plain JSON: kubernetes.aio reads configurations, tokens and certificates, and its typed
models are left out, because they halve the requests per second and would hold values in places
of their own. Knows no kind of object but the access review; retries nothing but a request whose token had
expired, since whoever calls knows better what may be repeated.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import incluster_config

from backends.clients.kubernetes_errors import Answer, Call, no_answer, read_answer, refusal
from backends.clients.kubernetes_options import KubernetesOptions
from backends.clients.kubernetes_reading import broken, lines_of, parsed_body
from backends.clients.permit import PermittedBody
from backends.clients.proxies import environment_proxy
from backends.errors import AuthenticationFailed, SinkError, SinkUnavailable
from backends.sending import only_while

Json = dict[str, Any]
"""An object as the API server writes it."""

PAGE_SIZE: Final = 500
"""Objects in a page of a list: what kubectl asks for."""

_CONNECTIONS: Final = 64
_CONNECT_TIMEOUT: Final = 10.0
_LOGIN_PAUSE: Final = 10.0
"""Seconds between two attempts to get another token: a login may start a program."""
_WHOLE: Final = "application/json"
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_METADATA_OF_ONE: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_MERGE_PATCH: Final = "application/merge-patch+json"


def resource_path(
    resource: str, *, group: str | None = None, namespace: str | None = None, name: str | None = None
) -> str:
    """The path of one object, or of the list in a namespace or everywhere.

    `group` with its version (`apps/v1`); without it a core resource.
    """
    scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    root = f"/apis/{group}" if group else "/api/v1"
    return f"{root}{scope}/{resource}" + (f"/{quote(name, safe='')}" if name else "")


class NotServed(SinkUnavailable):
    """The API server has no such group of objects: what defines them is not installed."""


class KubernetesClient:
    """An async context manager; entering it logs in, and raises `AuthenticationFailed`.

    Every method raises `SinkError`s only, and sends one request at a time for each page or object.
    """

    def __init__(self, options: KubernetesOptions) -> None:
        _silence_library()
        self._options = options
        self._timeout = aiohttp.ClientTimeout(total=options.request_timeout, sock_connect=_CONNECT_TIMEOUT)
        self._configuration = Configuration()
        self._login = asyncio.Lock()
        self._next_login = 0.0
        self._session: aiohttp.ClientSession
        self._watches: aiohttp.ClientSession
        self._proxy: str | None = None

    async def __aenter__(self) -> Self:
        await self._load_login()
        tls = self._tls()
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=tls))
        # Apart: a watch keeps its connection, and there may be more of them than requests have.
        self._watches = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=tls))
        # NB: once: aiohttp's `trust_env` looks it up for each request, in a thread, and halves the rate.
        self._proxy = self._configuration.proxy or environment_proxy(self._configuration.host)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._watches.close()
        await self._session.close()

    async def get(self, path: str) -> Json | None:
        """The object at the path, None where the API server says that there is none."""
        call = Call("GET", path)
        answer = await self._send(call)
        if isinstance(answer, Answer):
            if answer.not_found:
                return None
            raise _failure(call, answer)
        return answer

    async def list_pages(
        self, path: str, params: Mapping[str, str], *, metadata_only: bool = False
    ) -> AsyncIterator[list[Json]]:
        """The items of a list, page by page, to its end; a list that is cut raises.

        `params` are the query's (`labelSelector`, `limit`); with `metadata_only` no values come.
        """
        call = Call("GET", path)
        cursor: dict[str, str] = {}
        while True:
            query = {"limit": str(PAGE_SIZE), **params, **cursor}
            page = self._object(
                call, await self._send(call, query=query, accept=_METADATA if metadata_only else _WHOLE)
            )
            items = page.get("items")
            if items is None and page.get("kind") == "PartialObjectMetadataList":
                items = []  # how the API server (seen at 1.37) writes an empty list of metadata
            if not isinstance(items, list):
                raise no_answer(call, sent=True, why="the answer is not a list")
            yield items
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            cursor = {"continue": str(token)}

    async def list_version(self, path: str, params: Mapping[str, str]) -> str:
        """The `resourceVersion` of a list as it is now: where a watch of it begins."""
        call = Call("GET", path)
        page = self._object(call, await self._send(call, query={**params, "limit": "1"}, accept=_METADATA))
        version = (page.get("metadata") or {}).get("resourceVersion")
        if not version:
            raise no_answer(call, sent=True, why="the answer is not a list")
        return str(version)

    @asynccontextmanager
    async def watch(
        self, path: str, params: Mapping[str, str], *, seconds: float
    ) -> AsyncIterator[AsyncGenerator[Json, None]]:
        """The events of one watch, metadata only, until the server ends it; one that is cut raises.

        After `seconds` it is over, whatever comes: of a server that is gone nothing comes any more.
        """
        call = Call("GET", path)
        url = f"{self._configuration.host}{path}?{urlencode(params)}"
        while True:
            token = await self._token()
            async with self._watching(call, url, token, seconds) as response:
                if response.status < HTTPStatus.MULTIPLE_CHOICES:
                    async with aclosing(lines_of(call, response)) as lines:
                        yield lines
                    return
            answer = read_answer(response.status, None, response.headers.get("Retry-After"))
            if answer.code != HTTPStatus.UNAUTHORIZED or not await self._token_changed(token):
                raise refusal(call, answer)

    async def post(self, path: str, body: Json) -> Json:
        """Create; the object as stored. `PreconditionFailed` if it exists already."""
        call = Call("POST", path)
        return self._object(call, await self._send(call, body=body))

    async def put(self, path: str, body: Json) -> Json:
        """Replace just this `metadata.resourceVersion`; the object as stored. `PreconditionFailed` else."""
        call = Call("PUT", path)
        return self._object(call, await self._send(call, body=body))

    async def patch(self, path: str, body: Json) -> Json:
        """Merge into just this `metadata.resourceVersion`; metadata as stored. `PreconditionFailed` else."""
        call = Call("PATCH", path)
        return self._object(call, await self._send(call, body=body, accept=_METADATA_OF_ONE))

    async def delete(self, path: str, *, uid: str, resource_version: str) -> None:
        """Delete exactly this version; absent already is success. `PreconditionFailed` if it changed."""
        call = Call("DELETE", path)
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        answer = await self._send(call, body=body)
        if isinstance(answer, Answer) and not answer.not_found:
            raise refusal(call, answer)

    async def review_access(
        self, *, verb: str, resource: str, namespace: str | None = None, group: str = ""
    ) -> bool:
        """Whether this login may do this, in one namespace or (None) in all of them.

        `resource` may name a part, as RBAC does: `deployments/scale`.
        """
        whole, _, part = resource.partition("/")
        attributes = {"verb": verb, "resource": whole, "subresource": part, "group": group}
        attributes["namespace"] = namespace or ""
        kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        with only_while(lambda: True):  # a question, however it is put
            review = await self.post(path, {**kind, "spec": {"resourceAttributes": attributes}})
        return (review.get("status") or {}).get("allowed") is True

    def _object(self, call: Call, answer: Json | Answer) -> Json:
        if isinstance(answer, Answer):
            raise _failure(call, answer)
        return answer

    async def _send(
        self,
        call: Call,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        accept: str = _WHOLE,
    ) -> Json | Answer:
        """The object that was answered, or the refusal. Logs in again once if the token had expired."""
        url = f"{self._configuration.host}{call.path}" + (f"?{urlencode(query)}" if query else "")
        token = await self._token()
        answer = await self._exchange(call, url, body, _headers(token, accept))
        unauthorised = isinstance(answer, Answer) and answer.code == HTTPStatus.UNAUTHORIZED
        if unauthorised and await self._token_changed(token):
            return await self._exchange(call, url, body, _headers(await self._token(), accept))
        return answer

    async def _exchange(
        self, call: Call, url: str, body: Json | None, headers: dict[str, str]
    ) -> Json | Answer:
        sent = None if body is None else PermittedBody(json.dumps(body).encode())
        request = self._session.request(
            call.method,
            url,
            # A stream: aiohttp warns about big bodies in one piece.
            data=sent,
            headers=headers | {"Content-Type": _MERGE_PATCH if call.method == "PATCH" else _WHOLE},
            timeout=self._timeout,
            allow_redirects=False,
            proxy=self._proxy,
            server_hostname=self._configuration.tls_server_name,
        )
        try:
            async with request as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            refusal = None if sent is None else sent.refusal
            raise refusal or broken(call, error) from None
        parsed = parsed_body(content)
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            return read_answer(response.status, parsed, response.headers.get("Retry-After"))
        if not isinstance(parsed, dict):
            raise no_answer(call, sent=True, why="the answer is not a Kubernetes API server's")
        return parsed

    @asynccontextmanager
    async def _watching(
        self, call: Call, url: str, token: str | None, seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            response = await self._watches.get(
                url,
                headers=_headers(token, _METADATA_OF_ONE),
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_TIMEOUT),
                allow_redirects=False,
                proxy=self._proxy,
                server_hostname=self._configuration.tls_server_name,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise broken(call, error) from None
        try:
            yield response
        finally:
            # Before its end it is broken off: closed politely, TLS would wait for the server's part.
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()
            response.close()

    async def _token(self) -> str | None:
        try:
            token: str | None = await self._configuration.get_api_key_with_prefix("BearerToken")
        except (OSError, config.ConfigException):
            raise AuthenticationFailed("the service account's token cannot be read") from None
        return token

    async def _token_changed(self, refused: str | None) -> bool:
        """Whether there is another token by now than the one that was refused."""
        async with self._login:
            if await self._token() == refused and time.monotonic() >= self._next_login:
                self._next_login = time.monotonic() + _LOGIN_PAUSE
                await self._load_login()
            return await self._token() != refused

    async def _load_login(self) -> None:
        """Read kubeconfig or service account anew; every kind of token is renewed by that.

        NB: the library's own `refresh_token` swallows failures and knows only two kinds.
        """
        options, source = self._options, "the service account"
        try:
            if options.kubeconfig is None and options.context is None and _in_cluster():
                config.load_incluster_config(self._configuration)  # type: ignore[no-untyped-call]  # untyped upstream
            else:
                source = f"kubeconfig {options.kubeconfig or '(default)'}"
                await self._load_kubeconfig()
        except Exception as error:  # noqa: BLE001  # a malformed file raises anything, and its text may quote a token
            raise AuthenticationFailed(f"no login from {source} ({type(error).__name__})") from None
        # Without this, a login program that failed would look like a missing right: the library goes on.
        is_anonymous = not (self._configuration.api_key or self._configuration.cert_file)
        if is_anonymous and self._configuration.host.startswith("https"):
            raise AuthenticationFailed(f"no login from {source}: it has no token and no certificate")

    async def _load_kubeconfig(self) -> None:
        path = self._options.kubeconfig
        await config.load_kube_config(  # type: ignore[no-untyped-call]  # untyped upstream
            config_file=None if path is None else str(path),
            context=self._options.context,
            client_configuration=self._configuration,
            persist_config=False,
        )

    def _tls(self) -> ssl.SSLContext:
        try:
            return RESTClientObject(self._configuration).ssl_context
        except (OSError, ValueError):
            raise AuthenticationFailed("the certificates or the key of the login cannot be used") from None


def _failure(call: Call, answer: Answer) -> SinkError:
    """NB: who does not know core resources either is no API server, whatever is installed."""
    error = refusal(call, answer)
    is_unknown = answer.code == HTTPStatus.NOT_FOUND and not answer.not_found
    is_read_of_a_group = call.path.startswith("/apis/") and not call.writes
    return NotServed(error.reason) if is_unknown and is_read_of_a_group else error


def _in_cluster() -> bool:
    return Path(incluster_config.SERVICE_TOKEN_FILENAME).exists()


def _silence_library() -> None:
    """Keep kubernetes.aio from logging: an error of a login program is logged with its output.

    Holds whatever the root logger's level is: a level of its own, and none that any record has.
    """
    logging.getLogger("kubernetes").setLevel(logging.CRITICAL + 1)


def _headers(token: str | None, accept: str) -> dict[str, str]:
    headers = {"Accept": accept, "User-Agent": "porter-outputs-syncer"}
    return headers if token is None else headers | {"Authorization": token}
