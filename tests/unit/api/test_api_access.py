"""Who gets in and what they may, decided: the three kinds of access without a server around them.

The API server's answers are made up here, to see what is asked how often and what becomes of answers that
are odd or fail; what a real one answers is in tests/contract/test_api_access_*.py. The clock is a number.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from dataclasses import dataclass, field

import pytest

from backends.clients.kubernetes_access import Attributes, Subject
from backends.errors import Forbidden, OutcomeUnknown, SinkError, SinkUnavailable
from backends.secret_value import SecretValue
from syncer.api import kubernetes_callers
from syncer.api.access import (
    AccessUnavailable,
    KubernetesAccessOptions,
)
from syncer.api.callers import Caller, Permission, Resource, Verb
from syncer.api.credentials import (
    ClientCertificate,
    Credentials,
)
from syncer.api.kubernetes_callers import KubernetesAccess, expiry, kubernetes_namespace

CANARY = "canary-7f3a9c51e2"
ALICE = Subject(name="alice", uid="1", groups=("team",), extra={"scopes": ("a", "b")})


@dataclass
class Reviews:
    """The API server's part."""

    subject: Subject | None = ALICE
    allowed: bool = True
    error: SinkError | None = None
    hanging: asyncio.Event | None = None
    tokens: list[tuple[bytes, str]] = field(default_factory=list)
    attributes: list[tuple[Subject, Attributes]] = field(default_factory=list)

    async def authenticate(self, token: SecretValue, audience: str) -> Subject | None:
        self.tokens.append((token.reveal(), audience))
        await self._answer()
        return self.subject

    async def authorize(self, subject: Subject, attributes: Attributes) -> bool:
        self.attributes.append((subject, attributes))
        await self._answer()
        return self.allowed

    async def _answer(self) -> None:
        if self.hanging is not None:
            await self.hanging.wait()
        if self.error is not None:
            raise self.error


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(reviews, clock) -> KubernetesAccess:
    options = KubernetesAccessOptions(
        audience="outputs", namespaces={"": "platform", "dev": "team", "test": "team"}
    )
    return KubernetesAccess(reviews, options, clock=clock, now=clock)


def bearer(text: str) -> Credentials:
    return Credentials(token=SecretValue(text.encode()))


def owner(name: str, *organizations: str, until: float = 5000.0) -> Credentials:
    return Credentials(
        certificate=ClientCertificate(common_name=name, organizations=organizations, valid_until=until)
    )


def jwt(**claims: object) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "c2ln"])


def reading(namespace: str | None, resource: Resource = Resource.OUTPUTS, name: str = "") -> Permission:
    return Permission(Verb.GET, resource, namespace, name)


# --- tokens


async def test_a_token_is_reviewed_for_our_own_audience(access, reviews):
    caller = await access.caller(bearer("t"))
    assert caller == Caller("alice", ("team",), "1", {"scopes": ("a", "b")})
    assert reviews.tokens == [(b"t", "outputs")]


async def test_a_good_token_is_reviewed_again_after_ten_seconds(access, reviews, clock):
    for clock.now in (1000.0, 1009.9, 1010.0):
        assert await access.caller(bearer("t")) is not None
    assert len(reviews.tokens) == 2


async def test_a_bad_token_is_reviewed_again_after_two_seconds(access, reviews, clock):
    reviews.subject = None
    for clock.now in (1000.0, 1001.9, 1002.0):
        assert await access.caller(bearer("t")) is None
    assert len(reviews.tokens) == 2


@pytest.mark.parametrize(
    ("expires", "asked"), [(1003.0, 2), (1000.0, 3), (900.0, 3), (1e300, 1), (10**400, 1)]
)
async def test_no_token_is_believed_longer_than_it_says_itself(access, reviews, clock, expires, asked):
    for clock.now in (1000.0, 1002.9, 1003.0):
        await access.caller(bearer(jwt(exp=expires)))
    assert len(reviews.tokens) == asked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a.b.c",
        "..",
        jwt(),
        jwt(exp=None),
        jwt(exp="soon"),
        jwt(exp=[]),
        "a.W10.c",
        "a." + "W1tb" * 9000 + ".c",
    ],
)
def test_what_does_not_say_when_it_ends_never_does(text):
    assert expiry(SecretValue(text.encode())) == float("inf")


async def test_tokens_are_told_apart(access, reviews):
    for text in ("t", "tt", "t"):
        await access.caller(bearer(text))
    assert [token for token, _ in reviews.tokens] == [b"t", b"tt"]


async def test_equal_tokens_at_a_time_are_reviewed_once(access, reviews):
    reviews.hanging = asyncio.Event()
    asking = [asyncio.create_task(access.caller(bearer("t"))) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    reviews.hanging.set()
    assert {caller.name for caller in await asyncio.gather(*asking[1:])} == {"alice"}
    assert len(reviews.tokens) == 1


async def test_no_token_is_kept_or_told(access, reviews, caplog):
    caplog.set_level(logging.DEBUG)
    await access.caller(bearer(CANARY))
    reviews.error = SinkUnavailable("away")
    with pytest.raises(AccessUnavailable) as caught:
        await access.caller(bearer(CANARY + "2"))
    kept = repr(vars(access._callers)) + repr(vars(access._decisions))
    assert CANARY not in kept + caplog.text + repr(caught.value) + repr(bearer(CANARY))


async def test_who_tries_tokens_does_not_keep_the_api_server_busy(access, reviews):
    reviews.hanging = asyncio.Event()
    asking = [asyncio.create_task(access.caller(bearer(f"t{number}"))) for number in range(100)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(reviews.tokens) == 32
    reviews.hanging.set()
    await asyncio.gather(*asking)
    assert len(reviews.tokens) == 100


@pytest.mark.parametrize(
    "error", [SinkUnavailable("away"), Forbidden("no right"), OutcomeUnknown("sent"), SinkError("odd")]
)
async def test_a_review_that_fails_is_no_answer_and_is_asked_again(access, reviews, error):
    reviews.error = error
    for _ in range(2):
        with pytest.raises(AccessUnavailable, match=error.reason):
            await access.caller(bearer("t"))
        with pytest.raises(AccessUnavailable, match=error.reason):
            await access.allows(Caller("alice"), reading("dev"))
    assert (len(reviews.tokens), len(reviews.attributes)) == (2, 2)
    reviews.error = None
    assert await access.caller(bearer("t")) is not None


async def test_a_review_that_hangs_is_given_up(access, reviews, monkeypatch):
    monkeypatch.setattr(kubernetes_callers, "_REVIEW_SECONDS", 0.01)
    reviews.hanging = asyncio.Event()
    with pytest.raises(AccessUnavailable, match="in time"):
        await access.caller(bearer("t"))


# --- certificates of Kubernetes users


async def test_a_certificate_names_user_and_groups(access):
    caller = await access.caller(owner("bob", "team", "ops"))
    assert caller == Caller("bob", ("team", "ops", "system:authenticated"))


@pytest.mark.parametrize(
    "credentials",
    [
        owner("bob", "system:masters"),
        owner("system:serviceaccount:a:b"),
        owner("bob", until=1000.0),
        Credentials(),
    ],
)
async def test_a_certificate_makes_nobody_of_the_clusters_own_nor_lasts_too_long(access, credentials):
    assert await access.caller(credentials) is None


async def test_a_bad_token_is_not_made_good_by_a_certificate(access, reviews):
    reviews.subject = None
    both = Credentials(token=SecretValue(b"t"), certificate=owner("bob").certificate)
    assert await access.caller(both) is None


# --- permissions in Kubernetes


@pytest.mark.parametrize(
    ("permission", "attributes"),
    [
        (
            Permission(Verb.LIST, Resource.INSTALLATIONS, None),
            Attributes(verb="list", group="outputs.porter.sh", resource="installations"),
        ),
        (
            Permission(Verb.GET, Resource.OUTPUTS, "shop", "mysql"),
            Attributes(
                verb="get", group="outputs.porter.sh", resource="installations", subresource="outputs",
                namespace="shop", name="mysql",
            ),
        ),
        (
            Permission(Verb.GET, Resource.SENSITIVE_OUTPUTS, "", "mysql"),
            Attributes(
                verb="get", group="outputs.porter.sh", resource="installations", subresource="sensitiveoutputs",
                namespace="platform", name="mysql",
            ),
        ),
    ],
)  # fmt: skip
async def test_a_permission_is_asked_for_in_the_words_of_rbac(access, reviews, permission, attributes):
    caller = Caller("alice", ("team",), "1", {"scopes": ("a", "b")})
    assert await access.allows(caller, permission)
    assert reviews.attributes == [(ALICE, attributes)]


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        ("", "platform"), ("dev", "team"), ("test", "team"), ("shop", "shop"), ("a" * 63, "a" * 63),
        ("a" * 64, None), ("Shop", None), ("a.b", None), ("-a", None), ("a-", None), ("*", None), ("a/b", None),
        ("shop\n", None), ("münchen", None), (" ", None),
    ],
)  # fmt: skip
def test_a_namespace_is_mapped_or_stays_itself_where_kubernetes_could_have_it(namespace, expected):
    assert kubernetes_namespace(namespace, {"": "platform", "dev": "team", "test": "team"}) == expected


async def test_what_has_no_namespace_is_denied_and_nobody_is_asked(reviews, clock):
    """NB: an empty namespace in a review would ask for all of them."""
    mappings = [{}, {"": ""}]
    for mapping in mappings:
        access = KubernetesAccess(
            reviews, KubernetesAccessOptions(audience="o", namespaces=mapping), clock=clock
        )
        for namespace in ("", "No Label"):
            assert not await access.allows(Caller("alice"), reading(namespace))
    assert reviews.attributes == []


async def test_a_right_that_is_taken_away_is_gone_after_ten_seconds(access, reviews, clock):
    caller = Caller("alice")
    assert await access.allows(caller, reading("shop"))
    reviews.allowed = False
    clock.now += 9.9
    assert await access.allows(caller, reading("shop"))
    clock.now += 0.1
    assert not await access.allows(caller, reading("shop"))


async def test_a_right_that_is_granted_is_there_after_two_seconds(access, reviews, clock):
    reviews.allowed = False
    assert not await access.allows(Caller("alice"), reading("shop"))
    reviews.allowed = True
    clock.now += 1.9
    assert not await access.allows(Caller("alice"), reading("shop"))
    clock.now += 0.1
    assert await access.allows(Caller("alice"), reading("shop"))


async def test_no_decision_is_taken_for_another(access, reviews):
    callers = [
        Caller("alice"), Caller("bob"), Caller("alice", ("team",)), Caller("alice", (), "1"),
        Caller("alice", (), "", {"a": ("b",)}), Caller("alice", (), "", {"a": ("b", "c")}),
    ]  # fmt: skip
    permissions = [
        Permission(verb, resource, namespace, name)
        for verb in Verb for resource in Resource for namespace in (None, "a", "b") for name in ("", "x")
    ]  # fmt: skip
    for _ in range(2):
        for caller in callers:
            for permission in permissions:
                await access.allows(caller, permission)
    assert len(reviews.attributes) == len(callers) * len(permissions)


async def test_namespaces_that_share_one_share_its_rights(access, reviews):
    for namespace in ("dev", "test"):
        assert await access.allows(Caller("alice"), reading(namespace))
    assert [attributes.namespace for _, attributes in reviews.attributes] == ["team"]
