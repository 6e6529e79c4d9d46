"""The real `bao agent`: logs in, and renders one template to a file, once or again and again.

Leaves out its other trades: no listener, no sink for its token, no commands.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.servers.openbao_auth import AppRoleLogin
from tests.servers.processes import Child, ServerFailedError

_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What an agent is to do; `credentials` is a token or a role."""

    address: str
    ca_file: Path
    template: str
    credentials: str | AppRoleLogin = field(repr=False)
    once: bool = False
    """Ends when it has rendered, and with a failure where it cannot; else it tries until it is stopped."""

    interval: str = "1s"
    """How long a secret is good before it is read again."""

    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class BaoAgent:
    """A running agent, or one that has ended."""

    rendered: Path
    once: bool
    _child: Child = field(repr=False)

    @classmethod
    def start(cls, program: Path, folder: Path, settings: AgentSettings) -> Self:
        """Starts it in a folder of its own; `wait_for` waits for what it renders."""
        rendered = folder / "rendered"
        config = _config(folder, rendered, settings)
        (folder / "agent.json").write_text(json.dumps(config, indent=2))
        child = Child.start("bao-agent", [str(program), "agent", "-config=agent.json"], folder)
        return cls(rendered, settings.once, child)

    def wait_for(self, expected: Callable[[str], bool] = bool, seconds: float = _SECONDS) -> str:
        """The rendered text, once it is as expected; raises ServerFailedError when it ends or time is over."""
        if self.once and self.ended(seconds) != 0:
            raise ServerFailedError(f"the agent failed:\n{self.log_tail()}")
        found: list[str] = []

        def ready() -> bool:
            found[:] = [self.rendered.read_text()] if self.rendered.exists() else []
            return bool(found) and expected(found[0])

        self._child.wait_until(ready, seconds)
        return found[0]

    def ended(self, seconds: float = _SECONDS) -> int:
        """Its exit status; raises ServerFailedError where it has not ended by then."""
        try:
            return self._child.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ServerFailedError(f"the agent goes on:\n{self.log_tail()}") from None

    def log_tail(self) -> str:
        """The last lines of its log."""
        return self._child.log_tail()

    def stop(self) -> None:
        """Ends it; what it rendered stays."""
        self._child.stop()


def _config(folder: Path, rendered: Path, settings: AgentSettings) -> dict[str, object]:
    reach: dict[str, object] = {"address": settings.address, "ca_cert": str(settings.ca_file)}
    if settings.namespace is not None:
        reach["namespace"] = settings.namespace
    if settings.once:
        reach["retry"] = {"num_retries": -1}
    template = {
        "contents": settings.template,
        "destination": str(rendered),
        "error_on_missing_key": True,
    }
    return {
        "vault": reach,
        "auto_auth": {"method": [_method(folder, settings.credentials)]},
        "template": [template],
        "template_config": {
            "static_secret_render_interval": settings.interval,
            "exit_on_retry_failure": settings.once,
        },
        "exit_after_auth": settings.once,
    }


def _method(folder: Path, credentials: str | AppRoleLogin) -> dict[str, object]:
    if isinstance(credentials, str):
        config: dict[str, object] = {"token_file_path": _private(folder / "token", credentials)}
        return {"type": "token_file", "config": config}
    config = {
        "role_id_file_path": _private(folder / "role-id", credentials.role_id),
        "secret_id_file_path": _private(folder / "secret-id", credentials.secret_id),
        "remove_secret_id_file_after_reading": False,
    }
    return {"type": "approle", "mount_path": f"auth/{credentials.mount}", "config": config}


def _private(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)
