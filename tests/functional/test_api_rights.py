"""Who may what: every kind of caller against every method of both services, on a real Kubernetes with RBAC.

A real `syncer api` over TLS serves what real Porter wrote. Compared is all that a client can see: status, text,
trailers and content. Excludes how long answers are remembered (tests/unit/api), and fields (test_api_clients.py).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from syncer.api._generated.installation.v1alpha1 import installation_pb2 as porters
from syncer.api._generated.porter.outputs.v1alpha1 import porter_bundle_pb2 as ours
from tests.functional.api_site import (
    LISTS,
    OURS,
    OUTPUTS,
    PORTERS,
    RUNS,
    SENSITIVE,
    ApiSite,
    Rules,
    Told,
    call,
    quickstart_served,
)

CODES = grpc.StatusCode
PLAIN, SEALED = "orders-db-2.shop.internal", "battery staple"
"""What is in `host` and in `admin-password` of shop/orders-db."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call, and what it takes: a right in a namespace of Porter's, None for all of them."""

    method: str
    message: Any
    answer: Any
    right: tuple[str, str]
    space: str | None
    exists: bool = True
    may_be_sensitive: bool = False
    name: str = ""


def _installations(**wanted: Any) -> Request:
    return Request(
        method=f"{OURS}/ListInstallations",
        message=ours.ListInstallationsRequest(**wanted),
        answer=ours.ListInstallationsResponse,
        right=LISTS[0],
        space=wanted.get("namespace"),
    )


def _runs(namespace: str, name: str, *, exists: bool = True) -> Request:
    return Request(
        method=f"{OURS}/ListInstallationRuns",
        message=ours.ListInstallationRunsRequest(namespace=namespace, installation=name),
        answer=ours.ListInstallationRunsResponse,
        right=RUNS[0],
        space=namespace,
        exists=exists,
        name=name,
    )


def _outputs(namespace: str, name: str, *, exists: bool = True, **wanted: Any) -> Request:
    return Request(
        method=f"{OURS}/ListInstallationRunOutputs",
        message=ours.ListInstallationRunOutputsRequest(namespace=namespace, installation=name, **wanted),
        answer=ours.ListInstallationRunOutputsResponse,
        right=OUTPUTS[0],
        space=namespace,
        exists=exists,
        may_be_sensitive=wanted.get("include_sensitive", False),
        name=name,
    )


def _porters_installations(**wanted: Any) -> Request:
    return Request(
        method=f"{PORTERS}/ListInstallations",
        message=porters.ListInstallationsRequest(**wanted),
        answer=porters.ListInstallationsResponse,
        right=LISTS[0],
        space=None if wanted.get("all_namespaces") else wanted.get("namespace", ""),
    )


def _porters_outputs(namespace: str, name: str, *, exists: bool = True) -> Request:
    return Request(
        method=f"{PORTERS}/ListInstallationLatestOutputs",
        message=porters.ListInstallationLatestOutputRequest(namespace=namespace, name=name),
        answer=porters.ListInstallationLatestOutputResponse,
        right=OUTPUTS[0],
        space=namespace,
        exists=exists,
        may_be_sensitive=True,
        name=name,
    )


REQUESTS: Mapping[str, Request] = {
    "installations": _installations(),
    "installations with custom data": _installations(include_custom=True),
    "installations of shop": _installations(namespace="shop"),
    "installations of prod": _installations(namespace="prod"),
    "installations of the global namespace": _installations(namespace=""),
    "installations of a namespace without rights": _installations(namespace="nowhere"),
    "runs": _runs("shop", "orders-db"),
    "runs elsewhere": _runs("prod", "api"),
    "runs of another": _runs("shop", "storefront"),
    "runs of nobody": _runs("shop", "nobody", exists=False),
    "outputs": _outputs("shop", "orders-db"),
    "sensitive outputs": _outputs("shop", "orders-db", include_sensitive=True),
    "outputs elsewhere": _outputs("prod", "api", include_sensitive=True),
    "outputs of nobody": _outputs("shop", "nobody", exists=False),
    "porter's installations": _porters_installations(all_namespaces=True),
    "porter's installations of shop": _porters_installations(namespace="shop"),
    "porter's global installations": _porters_installations(),
    "porter's outputs": _porters_outputs("shop", "orders-db"),
    "porter's outputs elsewhere": _porters_outputs("prod", "api"),
    "porter's outputs of nobody": _porters_outputs("shop", "nobody", exists=False),
}


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What an account may, and where: namespaces of Porter's, None for everywhere."""

    rules: Rules = ()
    spaces: tuple[str | None, ...] = (None,)
    names: tuple[str, ...] = ()
    """Only installations of these names; empty: any."""

    def allows(self, right: tuple[str, str], space: str | None, name: str) -> bool:
        here = None in self.spaces or (space is not None and space in self.spaces)
        return right in self.rules and here and (not self.names or name in self.names)


GRANTS: Mapping[str, Grant] = {
    "stranger": Grant(),
    "lister": Grant(rules=[*LISTS]),
    "lister-of-shop": Grant(rules=[*LISTS], spaces=("shop",)),
    "lister-of-global": Grant(rules=[*LISTS], spaces=("",)),
    "reader": Grant(rules=[*LISTS, *RUNS, *OUTPUTS]),
    "reader-of-shop": Grant(rules=[*LISTS, *RUNS, *OUTPUTS], spaces=("shop",)),
    "reader-of-prod": Grant(rules=[*RUNS, *OUTPUTS, *SENSITIVE], spaces=("prod",)),
    "reader-of-one": Grant(rules=[*RUNS, *OUTPUTS, *SENSITIVE], spaces=("shop",), names=("orders-db",)),
    "reader-of-another": Grant(rules=[*RUNS, *OUTPUTS, *SENSITIVE], spaces=("shop",), names=("storefront",)),
    "sensitive": Grant(rules=[*LISTS, *RUNS, *OUTPUTS, *SENSITIVE]),
    "sensitive-of-shop": Grant(rules=[*OUTPUTS, *SENSITIVE], spaces=("shop",)),
    "sensitive-without-outputs": Grant(rules=[*LISTS, *RUNS, *SENSITIVE]),
}


@pytest.fixture(scope="module")
def site(kube_cluster, mongo_server, tmp_path_factory) -> Iterator[ApiSite]:
    folder = tmp_path_factory.mktemp("api")
    with quickstart_served(kube_cluster, mongo_server, folder, "api_rights") as site:
        yield site


@pytest.fixture(scope="module")
def tokens(site) -> Mapping[str, str]:
    return {
        name: site.account(name, grant.rules, spaces=grant.spaces, names=grant.names)
        for name, grant in GRANTS.items()
    }


@pytest.fixture(scope="module")
def strangers(site, tokens) -> Mapping[str, tuple[tuple[str, str | bytes], ...]]:
    """What callers show that are nobody: metadata of their requests."""
    good = tokens["sensitive"]
    header, claims, _ = good.split(".")
    deleted = site.account("deleted", [*LISTS, *RUNS, *OUTPUTS, *SENSITIVE])
    site.cluster.admin.delete("v1", "ServiceAccount", "deleted", site.prefix)
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    shown = {
        "garbage": "garbage",
        "no letters of a token": "a b,c",
        "nothing": "",
        "three dots": "...",
        "signature of another": f"{header}.{claims}.{tokens['stranger'].rpartition('.')[2]}",
        "no signature": f"{header}.{claims}.",
        "unsigned": f"{unsigned}.{claims}.",
        "cut": good[:-1],
        "expired": site.expired(good),
        "for the API server": site.token("sensitive", "https://kubernetes.default.svc"),
        "for another service": site.token("sensitive", "porter-outputs"),
        "deleted account": deleted,
        "user of the cluster without an audience": site.cluster.tokens["reader"],
        "administrator of the cluster": site.cluster.tokens["admin"],
        "long": "x" * 20_000,
    }
    login = "authorization"
    return {
        "nothing at all": (),
        **{name: ((login, f"Bearer {token}"),) for name, token in shown.items()},
        "two tokens": ((login, f"Bearer {good}"), (login, f"Bearer {good}")),
        "another scheme": ((login, f"Basic {good}"),),
        "no scheme": ((login, good),),
        "another header": (("x-authorization", f"Bearer {good}"),),
        "binary": (("authorization-bin", f"Bearer {good}".encode()),),
    }


@pytest.fixture(scope="module")
def channel(site) -> Iterator[grpc.Channel]:
    with site.channel() as channel:
        yield channel


def ask(channel: grpc.Channel, request: Request, **how: Any) -> Told:
    return call(channel, request.method, request.message, request.answer, **how)


@pytest.fixture(scope="module")
def unauthenticated(channel) -> Told:
    """What is told to whoever shows nothing."""
    return ask(channel, REQUESTS["installations"])


@pytest.fixture(scope="module")
def denied(channel, tokens) -> Told:
    """What is told to whoever may do nothing."""
    return ask(channel, REQUESTS["installations"], token=tokens["stranger"])


def test_the_two_refusals_say_no_more_than_they_have_to(unauthenticated, denied):
    assert (unauthenticated.code, unauthenticated.details) == (CODES.UNAUTHENTICATED, "not authenticated")
    assert (denied.code, denied.details) == (CODES.PERMISSION_DENIED, "not allowed, or not there")


@pytest.mark.parametrize("name", REQUESTS)
def test_all_who_are_nobody_are_told_the_same(channel, strangers, unauthenticated, name):
    told = {shown: ask(channel, REQUESTS[name], metadata=metadata) for shown, metadata in strangers.items()}
    assert len(told) == 21
    assert told == dict.fromkeys(strangers, unauthenticated)


def test_what_is_wrong_with_an_expired_token_is_its_time(channel, site, tokens):
    """Else the refusal of it would prove nothing."""
    token = site.resigned(tokens["sensitive"])
    assert ask(channel, REQUESTS["installations"], token=token).code is CODES.OK


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("account", GRANTS)
def test_a_caller_gets_what_its_rights_say_and_nothing_else(channel, tokens, denied, account, name):
    request, grant = REQUESTS[name], GRANTS[account]
    told = ask(channel, request, token=tokens[account])
    if not (request.exists and grant.allows(request.right, request.space, request.name)):
        assert told == denied
        return
    assert told.code is CODES.OK, told
    text = str(told.answer)
    if request.right == OUTPUTS[0]:
        sensitive = request.may_be_sensitive and grant.allows(SENSITIVE[0], request.space, request.name)
        values = {one.name: one for one in told.answer.outputs}
        assert any(one.HasField("value") for one in values.values() if not one.sensitive) or not values
        hidden = [one for one in values.values() if one.sensitive]
        assert hidden
        assert {one.HasField("value") for one in hidden} == {sensitive}
        if request.space == "shop":
            assert PLAIN in text
            assert (SEALED in text) == sensitive
    if request.right == LISTS[0]:
        found = getattr(told.answer, "installations", None) or getattr(told.answer, "installation", ())
        spaces = {one.namespace for one in found}
        everywhere = {"", "shop", "prod", "staging"}
        assert spaces == (everywhere if request.space is None else {request.space} & everywhere)


def test_each_right_opens_something_and_each_request_is_closed_to_somebody():
    """The matrix above is no matrix of refusals."""
    open_to = {
        name: {
            account
            for account, grant in GRANTS.items()
            if request.exists and grant.allows(request.right, request.space, request.name)
        }
        for name, request in REQUESTS.items()
    }
    assert set().union(*open_to.values()) == GRANTS.keys() - {"stranger"}
    assert all(0 < len(accounts) < len(GRANTS) for name, accounts in open_to.items() if "nobody" not in name)


def test_every_sensitive_read_and_nothing_else_is_in_the_audit(site, channel, tokens):
    before = len(site.syncer.logged("sensitive outputs read"))
    for name in ("sensitive outputs", "porter's outputs", "outputs", "runs", "installations"):
        for account in ("reader", "sensitive-of-shop", "sensitive-without-outputs"):
            ask(channel, REQUESTS[name], token=tokens[account])
    line = {
        "caller": site.user("sensitive-of-shop"),
        "installation": "shop/orders-db",
        "outputs": ["admin-password"],
    }
    site.syncer.until(lambda: len(site.syncer.logged("sensitive outputs read")) >= before + 2)
    told = site.syncer.logged("sensitive outputs read")[before:]
    assert [{name: one[name] for name in line} for one in told] == [line, line]


def test_a_health_check_needs_no_login_and_gives_nothing_away(channel, tokens):
    method, message = "grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest()
    for token in (None, "garbage", tokens["stranger"]):
        told = call(channel, method, message, health_pb2.HealthCheckResponse, token=token)
        assert told.code is CODES.OK
        assert told.answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    "method",
    [
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "grpc.channelz.v1.Channelz/GetServers",
        f"{OURS}/ListSecrets",
        "porter.outputs.v1.PorterBundle/ListInstallations",
    ],
)
def test_what_is_not_offered_is_unknown_to_all_alike(channel, tokens, method):
    told = {
        name: call(channel, method, b"", ours.ListInstallationsResponse, token=token)
        for name, token in (("nobody", None), ("garbage", "garbage"), ("sensitive", tokens["sensitive"]))
    }
    assert {one.code for one in told.values()} == {CODES.UNIMPLEMENTED}
    assert len({(one.details, one.trailers) for one in told.values()}) == 1
