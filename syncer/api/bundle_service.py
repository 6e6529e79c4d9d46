"""`porter.outputs.v1alpha1.PorterBundle`: installations, runs, and outputs as this project selects them.

Says what is asked for and what of it is allowed; reading is `Records`' part, refusing `refusals`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar, assert_never

from google.protobuf.message import Message

from syncer.api import conversion
from syncer.api._generated.porter.outputs.v1alpha1 import porter_bundle_pb2 as ours
from syncer.api._generated.porter.outputs.v1alpha1.porter_bundle_pb2_grpc import PorterBundleServicer
from syncer.api.access import Access
from syncer.api.callers import Caller, Permission, Resource, Verb
from syncer.api.interceptor import caller_of
from syncer.api.observer import ApiObserver
from syncer.api.pages import PageTokens, page_size
from syncer.api.records import Records
from syncer.api.refusals import Context, Denied, Outdated, Refused, answered, possible
from syncer.core.errors import NoSuchRun
from syncer.core.model import (
    Found,
    InstallationKey,
    Missing,
    OutputRef,
    OutputState,
    SelectedOutput,
    Unresolved,
)
from syncer.core.rows import InstallationFilter, SelectedOutputs

LATEST: Final = "latest"
_CUSTOM_PAGE: Final = 20
"""Installations on a page with their custom data, of which each may have megabytes."""
_PAGE: Final = 2 * 1024 * 1024
"""Bytes of what is on a page: clients refuse messages of more than 4 MiB unless told otherwise, and a
single value of Porter's has at most 3 MiB."""
_LARGEST_VALUE: Final = 15 * 1024 * 1024
"""Bytes of one that can be sent at all (`Limits.send_bytes`); one that cannot must not end every walk."""
_VALUES_AT_ONCE: Final = 16
"""Outputs whose values are read before it is known whether they fit on the page."""
_NOT_ALLOWED: Final = "you may not read sensitive outputs of this installation"

_Message = TypeVar("_Message", bound=Message)


class BundleService(PorterBundleServicer):
    """`tokens` are for this service alone."""

    def __init__(self, records: Records, access: Access, tokens: PageTokens, observer: ApiObserver) -> None:
        self._records = records
        self._access = access
        self._tokens = tokens
        self._observer = observer

    async def ListInstallations(  # noqa: N802  # the API's name
        self, request: ours.ListInstallationsRequest, context: Context
    ) -> ours.ListInstallationsResponse:
        return await answered(context, self._installations(request, caller_of(context)))

    async def ListInstallationRuns(  # noqa: N802  # the API's name
        self, request: ours.ListInstallationRunsRequest, context: Context
    ) -> ours.ListInstallationRunsResponse:
        return await answered(context, self._runs(request, caller_of(context)))

    async def ListInstallationRunOutputs(  # noqa: N802  # the API's name
        self, request: ours.ListInstallationRunOutputsRequest, context: Context
    ) -> ours.ListInstallationRunOutputsResponse:
        return await answered(context, self._outputs(request, caller_of(context)))

    async def _installations(
        self, request: ours.ListInstallationsRequest, caller: Caller
    ) -> ours.ListInstallationsResponse:
        namespace = request.namespace if request.HasField("namespace") else None
        permission = Permission(verb=Verb.LIST, resource=Resource.INSTALLATIONS, namespace=namespace)
        await self._require(caller, permission)
        size = page_size(request.page_size)
        place = self._tokens.read(request.page_token, caller, _unpaged(request))
        page = await self._records.installations(
            InstallationFilter(
                namespace=namespace,
                text=request.name,
                labels=dict(request.labels),
                custom=request.include_custom,
            ),
            size=min(size, _CUSTOM_PAGE) if request.include_custom else size,
            beyond=None if place is None else InstallationKey(*place),
        )
        shown = _fitting(map(conversion.installation, page.rows))
        last = page.rows[len(shown) - 1] if len(shown) < len(page.rows) else page.next
        behind = () if last is None else (last.namespace, last.name)
        return ours.ListInstallationsResponse(
            installations=shown, next_page_token=self._token(caller, request, behind)
        )

    async def _runs(
        self, request: ours.ListInstallationRunsRequest, caller: Caller
    ) -> ours.ListInstallationRunsResponse:
        key = _key(request.namespace, request.installation)
        await self._require(caller, _get(Resource.INSTALLATIONS, key))
        size = page_size(request.page_size)
        place = self._tokens.read(request.page_token, caller, _unpaged(request))
        try:
            page = await self._records.runs(key, size=size, beyond=None if place is None else place[0])
        except NoSuchRun:
            raise Outdated("the run that the next page is behind is gone: begin anew") from None
        shown = _fitting(map(conversion.run, page.rows))
        more = (page.rows[len(shown) - 1].id,) if page.more or len(shown) < len(page.rows) else ()
        return ours.ListInstallationRunsResponse(
            runs=shown, next_page_token=self._token(caller, request, more)
        )

    async def _outputs(
        self, request: ours.ListInstallationRunOutputsRequest, caller: Caller
    ) -> ours.ListInstallationRunOutputsResponse:
        key = _key(request.namespace, request.installation)
        await self._require(caller, _get(Resource.OUTPUTS, key))
        size = page_size(request.page_size)
        place = self._tokens.read(request.page_token, caller, _unpaged(request))
        sensitive = request.include_sensitive and await self._access.allows(
            caller, _get(Resource.SENSITIVE_OUTPUTS, key)
        )
        selected = await self._records.selected(key, None if request.run in ("", LATEST) else request.run)
        rest = _behind(selected, place, frozenset(request.names))
        page = await self._page(rest[:size], sensitive=sensitive, asked=request.include_sensitive)
        self._audit(caller, key, page)
        more = (selected.run_id, rest[len(page) - 1].ref.name) if len(page) < len(rest) else ()
        return ours.ListInstallationRunOutputsResponse(
            outputs=page,
            next_page_token=self._token(caller, request, more),
            run_id=conversion.text(selected.run_id),
        )

    async def _page(
        self, outputs: Sequence[SelectedOutput], *, sensitive: bool, asked: bool
    ) -> Sequence[ours.Output]:
        """As many of these, in their order, as go on one page."""
        page: list[ours.Output] = []
        room = _PAGE
        for start in range(0, len(outputs), _VALUES_AT_ONCE):
            some = outputs[start : start + _VALUES_AT_ONCE]
            states = await self._records.values({one.ref for one in some if sensitive or not one.sensitive})
            for one in some:
                output = _output(one, states, refused=asked and not sensitive)
                room -= output.ByteSize()
                if room < 0 and page:
                    return page
                page.append(output)
        return page

    def _audit(self, caller: Caller, key: InstallationKey, page: Sequence[ours.Output]) -> None:
        read = [output.name for output in page if output.sensitive and output.HasField("value")]
        if read:
            self._observer.sensitive_read(caller.name, key.namespace, key.name, read)

    async def _require(self, caller: Caller, permission: Permission) -> None:
        if not await self._access.allows(caller, permission):
            raise Denied

    def _token(self, caller: Caller, request: Message, behind: tuple[str, ...]) -> str:
        return self._tokens.issue(caller, _unpaged(request), behind) if behind else ""


def _get(resource: Resource, key: InstallationKey) -> Permission:
    return Permission(verb=Verb.GET, resource=resource, namespace=key.namespace, name=key.name)


def _key(namespace: str, installation: str) -> InstallationKey:
    if not installation:
        raise Refused("installation is empty: give the name of one")
    return possible(namespace, installation)


def _fitting(messages: Iterable[_Message]) -> list[_Message]:
    """As many of these, in their order, as go on one page: one at least."""
    page: list[_Message] = []
    room = _PAGE
    for message in messages:
        room -= message.ByteSize()
        if room < 0 and page:
            break
        page.append(message)
    return page


def _unpaged(request: Message) -> bytes:
    """What a list depends on: the request but for which page of it, and how large."""
    same = type(request)()
    same.CopyFrom(request)
    same.ClearField("page_token")
    same.ClearField("page_size")
    return f"{same.DESCRIPTOR.full_name}\0".encode() + same.SerializeToString(deterministic=True)


def _behind(
    selected: SelectedOutputs, place: tuple[str, ...] | None, names: frozenset[str]
) -> Sequence[SelectedOutput]:
    """By name. NB: pages of two runs would be a set of outputs that no run has produced."""
    run_id, behind = place or (selected.run_id, "")
    if run_id != selected.run_id:
        raise Outdated(f"meanwhile run {selected.run_id} is the newest that succeeded: begin anew")
    wanted = sorted(name for name in selected.outputs if name > behind and (not names or name in names))
    return [selected.outputs[name] for name in wanted]


def _output(output: SelectedOutput, states: Mapping[OutputRef, OutputState], *, refused: bool) -> ours.Output:
    value, unavailable = _content(states.get(output.ref))
    return ours.Output(
        name=conversion.text(output.ref.name),
        type=conversion.text(output.type),
        sensitive=output.sensitive,
        run_id=conversion.text(output.ref.run_id),
        value=value,
        unavailable=_NOT_ALLOWED if refused and output.sensitive else conversion.text(unavailable),
    )


def _content(state: OutputState | None) -> tuple[bytes | None, str]:
    """A value, or why there is none; neither where it was not read."""
    match state:
        case None:
            return None, ""
        case Found(value) if len(value) > _LARGEST_VALUE:
            return None, "it is too large to be sent"
        case Found(value):
            return value.reveal(), ""
        case Missing():
            return None, "it has no value yet"
        case Unresolved(reason):
            return None, reason
        case _:
            assert_never(state)
