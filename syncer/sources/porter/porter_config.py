"""Reads Porter's own configuration: which database it writes to, and where its secrets are.

Reads `config.json|toml|yaml|yml` in Porter's home, flat or (Porter 1.5 and later) with contexts;
what Porter takes from environment variables of its own is taken too. Leaves out everything else
Porter can be told there. `${env.NAME}` and `${secret.NAME}` are filled in only where they
are used, so that one that cannot be resolved elsewhere does no harm.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from backends.secret_value import SecretValue
from syncer.core.errors import SourceRefused

SCHEMA: Final = "2.0.0"
"""The only schemaVersion there is of a file with contexts."""

_NAMES: Final = ("config.json", "config.toml", "config.yaml", "config.yml")
"""In the order in which Porter looks for them."""
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_NAMED: Final = re.compile(r"\s*(env|secret)\.([A-Za-z0-9_.-]+)\s*")

_Settings = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class HostPlugin:
    """Porter's default: it keeps no secrets."""


@dataclass(frozen=True, slots=True)
class FilesystemPlugin:
    folder: Path


@dataclass(frozen=True, slots=True)
class KubernetesPlugin:
    namespace: str | None
    """None: the one Porter itself runs in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultPlugin:
    address: str
    token: SecretValue
    path_prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePrincipal:
    """An application the environment names, as the Azure SDKs read it."""

    tenant_id: str
    client_id: str
    client_secret: SecretValue


@dataclass(frozen=True, slots=True)
class AzurePlugin:
    vault_url: str
    principal: ServicePrincipal | None
    """None: whoever is logged in to the `az` command."""


SecretsPlugin = HostPlugin | FilesystemPlugin | KubernetesPlugin | VaultPlugin | AzurePlugin


@dataclass(frozen=True, slots=True, kw_only=True)
class PorterConfig:
    """What of Porter's configuration concerns whoever reads its outputs."""

    url: str = field(repr=False)
    """Of the database; may hold a password."""
    secrets: SecretsPlugin


def read_porter_config(home: Path, environ: Mapping[str, str], *, context: str | None = None) -> PorterConfig:
    """Porter's configuration as Porter would find it in `home`.

    `context` as Porter's `--context`. Raises `SourceRefused` for what cannot be read or is not
    supported here; the text names file and setting, and quotes no value.
    """
    settings = _Reader(_selected(home, environ, context), environ, home)
    secrets = settings.secrets()
    return PorterConfig(url=settings.url(secrets), secrets=secrets)


class _Reader:
    """Settings of one context, with variables filled in."""

    def __init__(self, settings: _Settings, environ: Mapping[str, str], home: Path) -> None:
        self._settings = settings
        self._environ = environ
        self._home = home

    def secrets(self) -> SecretsPlugin:
        plugin, options = self._plugin("secrets", default="host")
        match plugin:
            case "host":
                return HostPlugin()
            case "filesystem":
                return FilesystemPlugin(self._home / "secrets")
            case "kubernetes.secrets":
                return KubernetesPlugin(self._text(options, "namespace", HostPlugin()) or None)
            case "hashicorp.vault":
                return self._vault(options)
            case "azure.keyvault":
                return self._azure(options)
            case _:
                raise SourceRefused(f"Porter's secrets plugin {plugin!r} is not supported")

    def _vault(self, options: _Settings) -> VaultPlugin:
        found = {
            name: self._text(options, name, HostPlugin())
            for name in ("vault_addr", "vault_token", "path_prefix")
        }
        for name, text in found.items():
            if not text:
                raise SourceRefused(f"Porter's hashicorp.vault secrets have no {name}")
        return VaultPlugin(
            address=found["vault_addr"],
            token=SecretValue(found["vault_token"].encode()),
            path_prefix=found["path_prefix"],
        )

    def _azure(self, options: _Settings) -> AzurePlugin:
        url = self._text(options, "vault-url", HostPlugin())
        name = self._text(options, "vault", HostPlugin())
        if not url and not name:
            raise SourceRefused("Porter's azure.keyvault secrets have neither vault nor vault-url")
        return AzurePlugin(url or f"https://{name}.vault.azure.net", self._principal())

    def _principal(self) -> ServicePrincipal | None:
        names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
        tenant, client, secret = (self._environ.get(name, "") for name in names)
        if not (tenant and client and secret):
            return None
        return ServicePrincipal(
            tenant_id=tenant, client_id=client, client_secret=SecretValue(secret.encode())
        )

    def url(self, secrets: SecretsPlugin) -> str:
        plugin, options = self._plugin("storage", default="mongodb-docker")
        match plugin:
            case "mongodb":
                url = self._text(options, "url", secrets)
                if not url:
                    raise SourceRefused("Porter's mongodb storage has no url")
                return url
            case "mongodb-docker":
                port = self._text(options, "port", secrets) or "27018"
                return f"mongodb://localhost:{port}/{self._text(options, 'database', secrets) or 'porter'}"
            case _:
                raise SourceRefused(f"Porter's storage plugin {plugin!r} is not supported")

    def _plugin(self, interface: str, *, default: str) -> tuple[str, _Settings]:
        """Short name and options of the plugin in use: a named one, else the default plugin."""
        name = self._setting(f"default-{interface}")
        if not name:
            return _short(self._setting(f"default-{interface}-plugin") or default), {}
        stanzas = self._settings.get(interface)
        for stanza in stanzas if isinstance(stanzas, list) else ():
            if isinstance(stanza, dict) and stanza.get("name") == name:
                plugin = stanza.get("plugin") or self._setting(f"default-{interface}-plugin") or default
                options = stanza.get("config")
                return _short(str(plugin)), options if isinstance(options, dict) else {}
        raise SourceRefused(f"Porter's configuration names {interface} {name!r} and does not define it")

    def _setting(self, name: str) -> str:
        override = self._environ.get(f"PORTER_{name.upper().replace('-', '_')}")
        found = self._settings.get(name) if override is None else override
        return found if isinstance(found, str) else ""

    def _text(self, options: _Settings, name: str, secrets: SecretsPlugin) -> str:
        found = options.get(name)
        if isinstance(found, int) and not isinstance(found, bool):
            return str(found)
        return _filled_in(found, self._environ, secrets) if isinstance(found, str) else ""


def _selected(home: Path, environ: Mapping[str, str], context: str | None) -> _Settings:
    """The settings of the context in use, or of the whole file where it has none."""
    settings = _read(home)
    chosen = context or environ.get("PORTER_CONTEXT")
    if "schemaversion" not in settings:
        if chosen:
            raise SourceRefused(f"Porter's configuration has no contexts, so there is no {chosen!r}")
        return settings
    if settings["schemaversion"] != SCHEMA:
        raise SourceRefused(f"Porter's configuration has a schemaVersion other than {SCHEMA}")
    contexts = settings.get("contexts")
    named = {
        one.get("name"): one.get("config") or {}
        for one in (contexts if isinstance(contexts, list) else ())
        if isinstance(one, dict)
    }
    name = chosen or settings.get("current-context") or "default"
    found = named.get(name) if isinstance(name, str) else None
    if not isinstance(found, dict):
        raise SourceRefused(f"Porter's configuration has no context {name!r}")
    return found


def _read(home: Path) -> _Settings:
    if not home.is_dir():
        raise SourceRefused(f"Porter's home {home} is no folder")
    path = next((home / name for name in _NAMES if (home / name).exists()), None)
    if path is None:
        if (home / "config.hcl").exists():
            raise SourceRefused(f"{home / 'config.hcl'}: HCL is not read here; YAML, JSON and TOML are")
        return {}
    parse: Callable[[str], object] = {".json": json.loads, ".toml": tomllib.loads}.get(
        path.suffix, yaml.safe_load
    )
    try:
        found = parse(path.read_text("utf-8"))
    except OSError as error:
        raise SourceRefused(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise SourceRefused(f"{path}{_where(error)} cannot be parsed") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SourceRefused(f"{path} holds no settings")
    return {name.lower(): value for name, value in found.items() if isinstance(name, str)}


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else getattr(error, "lineno", None)
    return "" if line is None else f", line {line},"


def _short(plugin: str) -> str:
    """`storage.porter.mongodb` and `porter.mongodb` are `mongodb`."""
    return re.sub(r"^((storage|secrets)\.)?(porter\.)?", "", plugin)


def _filled_in(text: str, environ: Mapping[str, str], secrets: SecretsPlugin) -> str:
    def value(match: re.Match[str]) -> str:
        variable = _NAMED.fullmatch(match[1])
        if variable is None:
            raise SourceRefused(
                f"Porter's configuration uses {match[0]}: only env.NAME and secret.NAME are filled in"
            )
        kind, name = variable[1], variable[2]
        if kind == "secret":
            return _secret(name, secrets)
        if name not in environ:
            raise SourceRefused(
                f"Porter's configuration uses the environment variable {name}, which is not set"
            )
        return environ[name]

    return _VARIABLE.sub(value, text)


def _secret(name: str, secrets: SecretsPlugin) -> str:
    match secrets:
        case FilesystemPlugin(folder):
            try:
                return (folder / Path(name).name).read_text("utf-8")
            except (OSError, UnicodeDecodeError):
                raise SourceRefused(f"the secret {name} of Porter's configuration cannot be read") from None
        case HostPlugin() | KubernetesPlugin() | VaultPlugin() | AzurePlugin():
            raise SourceRefused(
                f"Porter's configuration uses ${{secret.{name}}}: filled in only for the filesystem plugin"
            )
