"""hvac on a few threads: sends one request, or one login, and reads what comes back.

hvac is synchronous and a session of its is no thread's but one's, so each thread has a client of its own.
Knows no tokens but the one it is handed, and retries nothing. Cancelling a call does not stop its
thread: whoever writes has to name the version it writes over.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from http import HTTPStatus
from typing import Any, Final, assert_never
from urllib.parse import quote

import hvac
import requests
from hvac.adapters import RawAdapter
from hvac.exceptions import VaultError
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError, SSLError
from urllib3.util.ssl_match_hostname import CertificateError

from backends.clients.proxies import environment_proxy
from backends.clients.vault_errors import NOT_VAULTS, Answer, Call, Json, no_answer
from backends.clients.vault_options import (
    AnyAuth,
    AppRoleAuth,
    AwsAuth,
    AzureAuth,
    CertAuth,
    GcpAuth,
    JwtAuth,
    KubernetesAuth,
    LdapAuth,
    TokenAuth,
    UserpassAuth,
    VaultOptions,
)
from backends.errors import AuthenticationFailed, SinkError, SinkUnavailable
from backends.secret_value import SecretValue
from backends.sending import may_send, only_while

THREADS: Final = 16
"""Requests in flight."""

_CONNECT_TIMEOUT: Final = 10.0
_SLACK: Final = 1.0
"""Seconds more than its timeouts come to that a request may take: they begin anew with every byte."""
_READABLE: Final = (HTTPStatus.OK, HTTPStatus.NOT_FOUND)
_MERGE: Final = "application/merge-patch+json"
_LONGEST_PAUSE: Final = 600.0
"""Seconds that a server may ask to be left alone for."""
_UNREACHABLE: Final = (NewConnectionError, NameResolutionError)
_DISTRUST: Final = (ssl.SSLCertVerificationError, CertificateError)
_QUIET: Final = ("urllib3", "hvac", "requests")


class Transport:
    """Answers as they are, whatever their status; raises `SinkError` where there is none."""

    def __init__(self, options: VaultOptions, *, threads: int = THREADS) -> None:
        for name in _QUIET:  # NB: urllib3 logs paths, at debug level
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._options = options
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="vault")
        self._local = threading.local()
        self._sessions: list[requests.Session] = []

    async def send(
        self, call: Call, body: Json | None, token: SecretValue, *, patience: float | None = None
    ) -> Answer:
        """One request; `patience` in seconds replaces the configured timeout."""
        seconds = self._options.request_timeout if patience is None else patience
        headers = {"Content-Type": _MERGE} if call.method == "PATCH" else {}

        def request(client: hvac.Client) -> requests.Response:
            client.token = token.reveal().decode()
            found: requests.Response = client.adapter.request(
                call.method,
                f"/v1/{quote(call.path)}",
                params=dict(call.query),
                headers=headers,
                json=body,
                timeout=(min(_CONNECT_TIMEOUT, seconds), seconds),
            )
            return found

        return await self._in_a_thread(call, request, seconds)

    async def login(self, auth: AnyAuth, credential: SecretValue) -> Answer:
        """One login; `credential` is the token or password that `auth` names a file or setting for."""

        def request(client: hvac.Client) -> requests.Response:
            client.token = ""
            found: requests.Response = _login(client, auth, credential.reveal().decode())
            return found

        call = Call("POST", f"the login by {auth.method}")
        return await self._in_a_thread(call, request, self._options.request_timeout)

    def close(self) -> None:
        """Lets go of the threads; one that still waits for an answer ends with its timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for session in self._sessions:
            session.close()

    async def _in_a_thread(
        self, call: Call, request: Callable[[hvac.Client], requests.Response], seconds: float
    ) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(min(_CONNECT_TIMEOUT, seconds) + seconds + _SLACK):
                run = contextvars.copy_context().run
                outcome = await loop.run_in_executor(self._threads, run, self._exchange, call, request)
        except TimeoutError:
            raise no_answer(call, sent=True, why="there was no answer in time") from None
        if isinstance(outcome, SinkError):
            raise outcome
        return outcome

    def _exchange(
        self, call: Call, request: Callable[[hvac.Client], requests.Response]
    ) -> Answer | SinkError:
        """NB: errors are returned, not raised: those of requests hold the request, body and all."""
        try:
            with nullcontext() if call.writes else only_while(lambda: True):
                response = request(self._client())
            return _read(call, response)
        except SinkUnavailable as refusal:
            return refusal
        except (requests.RequestException, VaultError, OSError, ValueError) as error:
            return _broken(call, error)

    def _client(self) -> hvac.Client:
        found: hvac.Client | None = getattr(self._local, "client", None)
        if found is None:
            found = self._local.client = self._new_client()
        return found

    def _new_client(self) -> hvac.Client:
        options = self._options
        session = _session(options)
        self._sessions.append(session)
        return hvac.Client(
            url=options.address,
            token="",
            verify=session.verify,
            # NB: not None, or hvac takes what the environment names for other tools.
            cert=session.cert or (),  # type: ignore[arg-type]  # one file with both is fine with requests
            timeout=options.request_timeout,  # type: ignore[arg-type]  # so are fractions of seconds
            allow_redirects=False,
            session=session,
            adapter=RawAdapter,
            namespace=options.namespace,
            ignore_exceptions=True,
        )


class _Plain(HTTPConnection):
    """Asks for the permit to send when it is connected: that may have taken long."""

    def request(self, *args: Any, **kwargs: Any) -> None:
        may_send()
        super().request(*args, **kwargs)


class _Secure(HTTPSConnection):
    """The same by TLS."""

    def request(self, *args: Any, **kwargs: Any) -> None:
        may_send()
        super().request(*args, **kwargs)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


_POOLS: Final = {"http": _PlainPool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    """Its connections ask for the permit; with `name` they expect that one's certificate at any address."""

    def __init__(self, name: str | None) -> None:
        names = {"server_hostname": name, "assert_hostname": name}
        self._names: dict[str, Any] = {} if name is None else names
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **(kwargs | self._names))
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


def _session(options: VaultOptions) -> requests.Session:
    session = requests.Session()
    # Else a netrc file and the variables of other tools would have a say.
    session.trust_env = False
    session.verify = _authorities(options)
    if options.client_certificate is not None:
        certificate = str(options.client_certificate)
        session.cert = certificate if options.client_key is None else (certificate, str(options.client_key))
    proxy = environment_proxy(options.address)
    if proxy is not None:
        session.proxies = {"http": proxy, "https": proxy}
    session.mount("http://", _Adapter(None))
    session.mount("https://", _Adapter(options.server_name))
    return session


def _authorities(options: VaultOptions) -> str | bool:
    """The configured file, else the system's, else those that come with requests."""
    if options.ca_file is not None:
        return str(options.ca_file)
    return ssl.get_default_verify_paths().cafile or True


def _login(client: hvac.Client, auth: AnyAuth, credential: str) -> Any:
    match auth:
        case KubernetesAuth() | GcpAuth():
            method = getattr(client.auth, auth.method)
            found = method.login(auth.role, credential, use_token=False, mount_point=auth.at)
        case UserpassAuth() | LdapAuth():
            method = getattr(client.auth, auth.method)
            found = method.login(auth.username, credential, use_token=False, mount_point=auth.at)
        case AppRoleAuth(role_id=role, at=mount):
            secret_id = credential or None
            found = client.auth.approle.login(role, secret_id, use_token=False, mount_point=mount)
        case JwtAuth(role=role, at=mount):
            found = client.auth.jwt.jwt_login(role, credential, use_token=False, path=mount)
        case CertAuth(role=role, at=mount):
            found = client.adapter.login(
                f"/v1/auth/{mount}/login", use_token=False, json={"name": role or ""}
            )
        case AwsAuth():
            found = _login_to_aws(client, auth)
        case AzureAuth():
            found = _login_to_azure(client, auth, credential)
        case TokenAuth():
            raise AssertionError("a token needs no login")
        case _:
            assert_never(auth)
    return found


def _login_to_azure(client: hvac.Client, auth: AzureAuth, credential: str) -> Any:
    return client.auth.azure.login(
        auth.role,
        credential,
        subscription_id=auth.subscription_id,
        resource_group_name=auth.resource_group_name,
        vm_name=auth.vm_name,
        use_token=False,
        mount_point=auth.at,
    )


def _login_to_aws(client: hvac.Client, auth: AwsAuth) -> Any:
    return client.auth.aws.iam_login(
        auth.access_key.reveal().decode(),
        auth.secret_key.reveal().decode(),
        session_token=auth.session_token.reveal().decode() if auth.session_token else None,
        header_value=auth.header_value,
        role=auth.role,
        use_token=False,
        region=auth.region,
        mount_point=auth.at,
    )


def _read(call: Call, response: requests.Response) -> Answer | SinkError:
    body = _parsed(response.content)
    says_something = response.status_code == HTTPStatus.OK or response.content
    if not isinstance(body, dict) and says_something and response.status_code in _READABLE:
        return no_answer(call, sent=True, why=NOT_VAULTS)
    return Answer(
        status=response.status_code,
        body=body if isinstance(body, dict) else {},
        retry_after=_seconds(response.headers.get("Retry-After")),
    )


def _parsed(content: bytes) -> object:
    try:
        parsed: object = json.loads(content)
    except ValueError:
        return None
    except RecursionError:
        return {}  # NB: lists in lists in lists, which somebody wrote where a value should be
    return parsed


def _seconds(retry_after: str | None) -> float | None:
    is_number = retry_after and retry_after.isascii() and retry_after.isdigit()
    return min(float(retry_after), _LONGEST_PAUSE) if retry_after and is_number else None


def _broken(call: Call, error: Exception) -> SinkError:
    sent = True
    match error:
        case requests.exceptions.SSLError() if isinstance(_cause(error), _DISTRUST):
            sent, why = False, "the server's certificate is not trusted"
        case requests.exceptions.SSLError():
            why = "TLS failed"
        case requests.exceptions.ConnectTimeout():
            sent, why = False, "the server cannot be reached"
        case requests.exceptions.Timeout():
            why = "there was no answer in time"
        case requests.exceptions.ConnectionError() if isinstance(_cause(error), _UNREACHABLE):
            sent, why = False, "the server cannot be reached"
        case VaultError():
            sent, why = False, "hvac does not take its settings"
        case requests.RequestException():
            why = f"the connection broke ({type(error).__name__})"
        case _:
            return AuthenticationFailed("the certificates or the key of the login cannot be used")
    return no_answer(call, sent=sent, why=why)


def _cause(error: requests.exceptions.ConnectionError) -> object:
    """What urllib3 could not get over; of TLS, what that could not."""
    failure = error.args[0] if error.args else None
    reason = failure.reason if isinstance(failure, MaxRetryError) else None
    return reason.args[0] if isinstance(reason, SSLError) and reason.args else reason
