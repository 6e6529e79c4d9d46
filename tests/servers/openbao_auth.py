"""Ways to log in to a test server: each set up at a path of its own, with all that its client needs.

Covers userpass, AppRole, JWT, certificates and Kubernetes; the clouds' ways need a cloud.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.servers.kubernetes import KubeCluster
from tests.servers.openbao_client import BaoApi, BaoClient

AUDIENCE = "openbao"
"""For whom the tokens of `jwt` are."""

_REVIEWS = {
    "apiGroups": ["authentication.k8s.io"],
    "resources": ["tokenreviews"],
    "verbs": ["create"],
}  # what system:auth-delegator has of use here


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of the tokens that a login gives; empty is the server's default. Durations are like 2s or 1h."""

    ttl: str = "1h"
    max_ttl: str = ""
    period: str = ""
    explicit_max_ttl: str = ""
    type: str = "default"
    """default, service or batch"""

    default_policy: bool = True

    def body(self, policy: str) -> dict[str, object]:
        """The fields of a role."""
        limits = {
            "token_ttl": self.ttl if not self.period else "",
            "token_max_ttl": self.max_ttl,
            "token_period": self.period,
            "token_explicit_max_ttl": self.explicit_max_ttl,
        }
        return {
            "token_policies": [policy],
            "token_type": self.type,
            "token_no_default_policy": not self.default_policy,
            **{name: limit for name, limit in limits.items() if limit},
        }


_HOUR = Limits()


@dataclass(frozen=True, slots=True)
class UserpassLogin:
    """A user with a password."""

    mount: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AppRoleLogin:
    """A role, and the first of its secrets."""

    mount: str
    role: str
    role_id: str
    secret_id: str = field(repr=False)
    _api: BaoApi = field(repr=False)

    def new_secret_id(self) -> str:
        """One more, with the settings of the role."""
        made: str = self._api.write(f"auth/{self.mount}/role/{self.role}/secret-id", {})["secret_id"]
        return made

    def destroy_secret_id(self, secret_id: str) -> None:
        """Ends it at once; tokens it gave live on."""
        self._api.write(f"auth/{self.mount}/role/{self.role}/secret-id/destroy", {"secret_id": secret_id})


@dataclass(frozen=True, slots=True)
class JwtLogin:
    """A role for whoever `issuer` vouches for."""

    mount: str
    role: str
    issuer: str
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    def mint(self, *, seconds: float = 600, **claims: object) -> str:
        """A fresh JWT, which ends in so many seconds (negative: has ended); claims replace the usual ones."""
        now = time.time()
        usual = {"iss": self.issuer, "sub": "syncer", "aud": AUDIENCE, "jti": secrets.token_hex(8)}
        times = {"iat": int(now), "nbf": int(min(now, now + seconds)), "exp": int(now + seconds)}
        return jwt.encode({**usual, **times, **claims}, self._key, algorithm="ES256")


@dataclass(frozen=True, slots=True)
class CertLogin:
    """A role for the owner of a certificate."""

    mount: str
    role: str
    certificate: Path
    """PEM of certificate and key."""

    certificate_only: Path
    key_only: Path


@dataclass(frozen=True, slots=True)
class KubernetesLogin:
    """A role for a service account of a cluster."""

    mount: str
    role: str
    namespace: str
    account: str
    mint: Callable[[], str] = field(repr=False)
    """A fresh token of the account, good for ten minutes."""


@dataclass(frozen=True, slots=True)
class BaoAuth:
    """Sets up ways to log in, as an administrator of one namespace. `policy` is the text of a policy."""

    api: BaoClient
    folder: Path

    def inside(self, namespace: str | None) -> BaoAuth:
        """The same in a namespace."""
        return replace(self, api=self.api.inside(namespace))

    def disable(self, mount: str) -> None:
        """Removes a way to log in; the tokens that it gave end with it."""
        self.api.delete(f"sys/auth/{mount}")

    def userpass(self, policy: str, limits: Limits = _HOUR) -> UserpassLogin:
        """A user with a random password."""
        login = UserpassLogin(self._enable("userpass"), "syncer", secrets.token_urlsafe(12))
        body = {"password": login.password, **self._token(policy, limits)}
        self.api.write(f"auth/{login.mount}/users/{login.username}", body)
        return login

    def approle(
        self, policy: str, limits: Limits = _HOUR, *, secret_id_ttl: str = "", secret_id_uses: int = 0
    ) -> AppRoleLogin:
        """A role whose secrets end after a time, or after so many logins (0: never)."""
        mount = self._enable("approle")
        path = f"auth/{mount}/role/syncer"
        ends = {
            "secret_id_num_uses": secret_id_uses,
            **({"secret_id_ttl": secret_id_ttl} if secret_id_ttl else {}),
        }
        self.api.write(path, {**ends, **self._token(policy, limits)})
        found = self.api.read(f"{path}/role-id")
        assert found is not None
        login = AppRoleLogin(mount, "syncer", found["role_id"], "", self.api)
        return replace(login, secret_id=login.new_secret_id())

    def jwt(self, policy: str, limits: Limits = _HOUR) -> JwtLogin:
        """A role for the JWTs of an issuer of its own, whose public key the server has."""
        mount, key = self._enable("jwt"), ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        login = JwtLogin(mount, "syncer", f"https://{mount}.test.invalid", key)
        config = {"jwt_validation_pubkeys": [public.decode()], "bound_issuer": login.issuer}
        self.api.write(f"auth/{mount}/config", config)
        role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": [AUDIENCE]}
        self.api.write(f"auth/{mount}/role/syncer", {**role, **self._token(policy, limits)})
        return login

    def cert(self, policy: str, limits: Limits = _HOUR) -> CertLogin:
        """A role for a client's certificate, of an authority of its own."""
        mount, authority = self._enable("cert"), trustme.CA()
        issued = authority.issue_cert("syncer.test.invalid", common_name="syncer")
        files = [self.folder / f"{mount}.{ending}" for ending in ("pem", "crt", "key")]
        issued.private_key_and_cert_chain_pem.write_to_path(files[0])
        issued.cert_chain_pems[0].write_to_path(files[1])
        issued.private_key_pem.write_to_path(files[2])
        role = {"certificate": authority.cert_pem.bytes().decode(), "allowed_common_names": ["syncer"]}
        self.api.write(f"auth/{mount}/certs/syncer", {**role, **self._token(policy, limits)})
        return CertLogin(mount, "syncer", *files)

    def kubernetes(
        self, cluster: KubeCluster, policy: str, limits: Limits = _HOUR, *, namespace: str = "default"
    ) -> KubernetesLogin:
        """A role for a service account; the cluster itself is asked whether a token is good."""
        mount = self._enable("kubernetes")
        account = f"syncer-{secrets.token_hex(4)}"
        _service_account(cluster, namespace, account)
        self.api.write(f"auth/{mount}/config", _kubernetes_config(cluster))
        role = {"bound_service_account_names": [account], "bound_service_account_namespaces": [namespace]}
        self.api.write(f"auth/{mount}/role/syncer", {**role, **self._token(policy, limits)})
        mint = partial(service_account_token, cluster, namespace, account)
        return KubernetesLogin(mount, "syncer", namespace, account, mint)

    def _enable(self, type_: str) -> str:
        mount = f"{type_}-{secrets.token_hex(4)}"
        self.api.write(f"sys/auth/{mount}", {"type": type_})
        return mount

    def _token(self, policy: str, limits: Limits) -> Mapping[str, object]:
        return limits.body(self.api.fresh_policy(policy))


def service_account_token(cluster: KubeCluster, namespace: str, account: str) -> str:
    """A fresh token of a service account, good for ten minutes, the least there is."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    spec = {"expirationSeconds": 600}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    made: dict[str, Any] = cluster.admin.request("POST", path, body)
    token: str = made["status"]["token"]
    return token


def _service_account(cluster: KubeCluster, namespace: str, account: str) -> None:
    metadata = {"name": account, "namespace": namespace}
    cluster.admin.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


def _kubernetes_config(cluster: KubeCluster) -> dict[str, object]:
    """The cluster, and an account there that may ask whose a token is."""
    reviewer = f"reviewer-{secrets.token_hex(4)}"
    _service_account(cluster, "default", reviewer)
    cluster.grant(f"system:serviceaccount:default:{reviewer}", [_REVIEWS])
    return {
        "kubernetes_host": cluster.url,
        "kubernetes_ca_cert": cluster.ca_file.read_text(),
        "token_reviewer_jwt": service_account_token(cluster, "default", reviewer),
        "disable_local_ca_jwt": True,
    }
