"""`porter.v1alpha1.Porter`: what Porter's own server answers, with its rules, for those who know only that.

Latest is the newest output whatever became of its run, one that cannot be resolved fails all of them,
and values are text. Sensitive ones are left out unless the configuration says otherwise, and then for
callers who may read them.
"""

from __future__ import annotations

import re
from typing import Final

from syncer.api import conversion
from syncer.api._generated.installation.v1alpha1 import installation_pb2 as porters
from syncer.api._generated.porter.v1alpha1.porter_pb2_grpc import PorterServicer
from syncer.api.access import Access
from syncer.api.callers import Caller, Permission, Resource, Verb
from syncer.api.interceptor import caller_of
from syncer.api.observer import ApiObserver
from syncer.api.records import Records
from syncer.api.refusals import Context, Denied, Refused, answered, possible
from syncer.core.model import InstallationKey
from syncer.core.rows import InstallationFilter

_SPECIAL: Final = re.compile(r"[\\*+?()\[\]{}|^$]")


class PorterService(PorterServicer):
    """`sensitive`: whether sensitive values are answered to callers who may read them."""

    def __init__(self, records: Records, access: Access, observer: ApiObserver, *, sensitive: bool) -> None:
        self._records = records
        self._access = access
        self._observer = observer
        self._sensitive = sensitive

    async def ListInstallations(  # noqa: N802  # the API's name
        self, request: porters.ListInstallationsRequest, context: Context
    ) -> porters.ListInstallationsResponse:
        return await answered(context, self._installations(request, caller_of(context)))

    async def ListInstallationLatestOutputs(  # noqa: N802  # the API's name
        self, request: porters.ListInstallationLatestOutputRequest, context: Context
    ) -> porters.ListInstallationLatestOutputResponse:
        return await answered(context, self._outputs(request, caller_of(context)))

    async def _installations(
        self, request: porters.ListInstallationsRequest, caller: Caller
    ) -> porters.ListInstallationsResponse:
        namespace = None if request.all_namespaces else request.namespace
        if request.skip < 0 or request.limit < 0:
            raise Refused("skip and limit are counted from 0")
        listing = Permission(verb=Verb.LIST, resource=Resource.INSTALLATIONS, namespace=namespace)
        if not await self._access.allows(caller, listing):
            raise Denied
        rows = await self._records.every_installation(
            InstallationFilter(
                namespace=namespace, text=_plain(request.name), labels=dict(request.labels), custom=False
            )
        )
        end = request.skip + request.limit if request.limit else None
        return porters.ListInstallationsResponse(
            installation=map(conversion.porters_installation, rows[request.skip : end])
        )

    async def _outputs(
        self, request: porters.ListInstallationLatestOutputRequest, caller: Caller
    ) -> porters.ListInstallationLatestOutputResponse:
        key = possible(request.namespace, request.name)
        if not await self._may(caller, Resource.OUTPUTS, key):
            raise Denied
        sensitive = self._sensitive and await self._may(caller, Resource.SENSITIVE_OUTPUTS, key)
        rows = await self._records.as_porter(key, sensitive=sensitive)
        read = [row.name for row in rows if row.sensitive and row.value is not None]
        if read:
            self._observer.sensitive_read(caller.name, key.namespace, key.name, read)
        return porters.ListInstallationLatestOutputResponse(outputs=map(conversion.porters_value, rows))

    async def _may(self, caller: Caller, resource: Resource, key: InstallationKey) -> bool:
        permission = Permission(verb=Verb.GET, resource=resource, namespace=key.namespace, name=key.name)
        return await self._access.allows(caller, permission)


def _plain(name: str) -> str:
    """NB: Porter takes a regular expression; one from a stranger could keep this process busy for ever."""
    if _SPECIAL.search(name):
        raise Refused("name: text that occurs in the name is all that can be searched for")
    return name
