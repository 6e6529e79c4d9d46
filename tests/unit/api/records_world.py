"""In-memory `Records` that count what is read of them, and callers with exactly the rights they were given.

What a reader makes of Porter's documents is not simulated: rows and selections are put in ready-made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from backends.secret_value import SecretValue
from syncer.api.callers import Caller, Permission, Resource
from syncer.api.credentials import Credentials
from syncer.api.interceptor import Refusal, RequestContext
from syncer.core.errors import NoSuchInstallation, NoSuchRun
from syncer.core.model import (
    Found,
    InstallationKey,
    InstallationState,
    OutputRef,
    OutputState,
    SelectedOutput,
)
from syncer.core.rows import (
    InstallationFilter,
    InstallationPage,
    InstallationRow,
    OutputRow,
    RunPage,
    RunRow,
    SelectedOutputs,
)

ANN = Caller("ann", ("devs",), "1")
DB = InstallationKey("shop", "db")


def row(
    namespace: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    custom: object = None,
    state: InstallationState = InstallationState.INSTALLED,
) -> InstallationRow:
    return InstallationRow(
        schema_version="1.0.2",
        id="01ID",
        name=name,
        namespace=namespace,
        uninstalled=False,
        bundle={
            "repository": "example.com/mysql",
            "version": "1.2.3",
            "digest": "sha256:0",
            "tag": "latest",
        },
        custom=custom,
        labels=labels or {},
        credential_sets=("c2", "c1"),
        parameter_sets=("p",),
        status={
            "runId": "01RUN",
            "action": "install",
            "resultId": "01RESULT",
            "resultStatus": "succeeded",
            "created": "2026-11-24T00:10:00Z",
            "modified": "2026-11-24T00:10:01.5Z",
            "installed": "2026-11-24T00:10:01Z",
            "uninstalled": None,
            "bundleReference": "example.com/mysql:v1.2.3",
            "bundleVersion": "1.2.3",
            "bundleDigest": "sha256:1",
        },
        state=state,
        display_status="succeeded",
    )


def run_row(run_id: str) -> RunRow:
    return RunRow(
        id=run_id, bundle="b", version="1", action="install", started="", stopped=None, status="succeeded"
    )


@dataclass
class MemoryRecords:
    """`Records` over dictionaries; every value that is handed out is remembered in `read`."""

    rows: list[InstallationRow] = field(default_factory=list)
    runs_of: dict[InstallationKey, list[RunRow]] = field(default_factory=dict)
    latest: dict[InstallationKey, SelectedOutputs] = field(default_factory=dict)
    of_run: dict[str, tuple[InstallationKey, SelectedOutputs]] = field(default_factory=dict)
    states: dict[OutputRef, OutputState] = field(default_factory=dict)
    porters: dict[InstallationKey, list[OutputRow]] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    asked: int = 0
    """Questions of any kind."""
    failure: Exception | None = None

    def add(self, name: str, value: bytes | OutputState = b"v", *, sensitive: bool = False) -> OutputRef:
        """One more output of the latest of DB, out of the run 01RUN."""
        ref = OutputRef(DB, "01RUN", "01RESULT", name, None)
        self.states[ref] = Found(SecretValue(value)) if isinstance(value, bytes) else value
        before = self.latest.get(DB, SelectedOutputs(run_id="01RUN", outputs={}))
        one = SelectedOutput(ref=ref, sensitive=sensitive, type="string")
        self.latest[DB] = SelectedOutputs(run_id="01RUN", outputs={**before.outputs, name: one})
        self.of_run["01RUN"] = DB, self.latest[DB]
        kept = SecretValue(value) if isinstance(value, bytes) else None
        output = OutputRow(name=name, type="string", sensitive=sensitive, value=kept)
        self.porters.setdefault(DB, []).append(output)
        return ref

    def _asked(self) -> None:
        self.asked += 1
        if self.failure is not None:
            raise self.failure

    async def installations(
        self, wanted: InstallationFilter, *, size: int, beyond: InstallationKey | None
    ) -> InstallationPage:
        self._asked()
        found = [one for one in self._matching(wanted) if beyond is None or _place(one) > _place(beyond)]
        page = sorted(found, key=_place)
        behind = InstallationKey(page[size - 1].namespace, page[size - 1].name) if len(page) > size else None
        return InstallationPage(rows=page[:size], next=behind)

    async def every_installation(self, wanted: InstallationFilter) -> Sequence[InstallationRow]:
        self._asked()
        return self._matching(wanted)

    async def runs(self, key: InstallationKey, *, size: int, beyond: str | None) -> RunPage:
        self._asked()
        if key not in self.runs_of:
            raise NoSuchInstallation(f"there is no installation {key}")
        rows = self.runs_of[key]
        if beyond is not None:
            ids = [row.id for row in rows]
            if beyond not in ids:
                raise NoSuchRun(beyond)
            rows = rows[ids.index(beyond) + 1 :]
        return RunPage(rows=rows[:size], more=len(rows) > size)

    async def selected(self, key: InstallationKey, run_id: str | None = None) -> SelectedOutputs:
        self._asked()
        if key not in self.latest:
            raise NoSuchInstallation(f"there is no installation {key}")
        if run_id is None:
            return self.latest[key]
        owner, outputs = self.of_run.get(run_id, (None, self.latest[key]))
        if owner != key:
            raise NoSuchRun(f"run {run_id} did not succeed")
        return outputs

    async def values(self, wanted: Collection[OutputRef]) -> Mapping[OutputRef, OutputState]:
        self._asked()
        self.read += [ref.name for ref in wanted]
        return {ref: self.states[ref] for ref in wanted}

    async def as_porter(self, key: InstallationKey, *, sensitive: bool) -> Sequence[OutputRow]:
        self._asked()
        if key not in self.porters:
            raise NoSuchInstallation(f"there is no installation {key}")
        shown = [one for one in self.porters[key] if sensitive or not one.sensitive]
        self.read += [one.name for one in shown]
        hidden = [
            OutputRow(name=one.name, type=one.type, sensitive=True, value=None)
            for one in self.porters[key]
            if one not in shown
        ]
        return [*shown, *hidden]

    def _matching(self, wanted: InstallationFilter) -> list[InstallationRow]:
        return [
            one
            for one in self.rows
            if wanted.namespace in (None, one.namespace)
            and wanted.text in one.name
            and wanted.labels.items() <= one.labels.items()
        ]


def _place(one: InstallationRow | InstallationKey) -> tuple[bytes, bytes]:
    return one.namespace.encode(), one.name.encode()


@dataclass
class Rights:
    """An `Access`: allowed is what was granted, and all that was asked is remembered."""

    granted: set[Resource] = field(default_factory=lambda: {Resource.INSTALLATIONS, Resource.OUTPUTS})
    asked: list[Permission] = field(default_factory=list)

    async def caller(self, credentials: Credentials) -> Caller | None:
        return ANN

    async def allows(self, caller: Caller, permission: Permission) -> bool:
        self.asked.append(permission)
        return permission.resource in self.granted


@dataclass
class Audit:
    """An `ApiObserver` that keeps the audit."""

    lines: list[tuple[str, str, str, list[str]]] = field(default_factory=list)

    def request(self, method: str, code: str, seconds: float) -> None: ...

    def sensitive_read(self, caller: str, namespace: str, installation: str, names: Sequence[str]) -> None:
        self.lines.append((caller, namespace, installation, list(names)))


async def call(method: Any, request: Any, caller: Caller = ANN) -> Any:
    """The answer, or the `Refusal` that the client would be told."""
    try:
        return await method(request, RequestContext(caller))
    except Refusal as refusal:
        return refusal


async def refused(method: Any, request: Any, caller: Caller = ANN) -> tuple[grpc.StatusCode, str]:
    answer = await call(method, request, caller)
    assert isinstance(answer, Refusal), answer
    return answer.code, answer.text
