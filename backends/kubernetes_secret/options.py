"""What the configuration may say about this sink and its targets, and what the sink can do."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StrictStr, model_validator

from backends.clients.client_options import ClientOptions
from backends.clients.kubernetes_options import KubernetesOptions
from backends.contract import Capabilities, Layout, TargetOptions, TargetShape, Workloads
from backends.kubernetes_secret.names import MAX_KEY, MAX_NAME, MAX_NAMESPACE, legal_namespace

CAPABILITIES: Final = Capabilities(
    compare_and_set=True,
    atomic_mark=True,
    lists_values=True,
    layouts=frozenset({Layout.BUNDLE}),
    max_secret_bytes=1024 * 1024,
    max_value_bytes=None,
    max_address_length=MAX_NAMESPACE + 1 + MAX_NAME,
    max_key_length=MAX_KEY,
    restarts=True,
)

_TYPES: Final = (
    "Opaque",
    "kubernetes.io/tls",
    "kubernetes.io/basic-auth",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/ssh-auth",
)
_SERVICE_BINDING: Final = re.compile(r"servicebinding\.io/[A-Za-z0-9](?:[-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_PART: Final = r"[A-Za-z0-9](?:[-._A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
_QUALIFIED_NAME: Final = re.compile(rf"(?:(?=.{{1,253}}/){_DOMAIN}/)?{_PART}")
_WORKLOAD: Final = re.compile(rf"(?=.{{1,{MAX_NAME}}}$){_DOMAIN}")
_LABEL_VALUE: Final = re.compile(rf"(?:{_PART})?")
_OURS: Final = "outputs.porter.sh"
_RESERVED_NAMES: Final = ("app.kubernetes.io/managed-by", "app.kubernetes.io/instance")


def _namespace(name: str) -> str:
    if not legal_namespace(name):
        raise ValueError(f"{name!r} is not a legal Kubernetes namespace")
    return name


def _some(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("should list at least one namespace, or be left out")
    return names


def _secret_type(name: str) -> str:
    if name not in _TYPES and not _SERVICE_BINDING.fullmatch(name):
        raise ValueError(f"{name!r} is not one of {', '.join(_TYPES)}, servicebinding.io/<name>")
    return name


def _any_qualified_name(name: str) -> str:
    if not _QUALIFIED_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a legal name of a label or annotation")
    return name


def _qualified_name(name: str) -> str:
    domain = _any_qualified_name(name).rpartition("/")[0]
    if name in _RESERVED_NAMES or domain == _OURS or _belongs_to_kubernetes(domain):
        raise ValueError(f"{name!r} is reserved: others act on it, or the sink itself writes it")
    return name


def _belongs_to_kubernetes(domain: str) -> bool:
    is_core = domain == "kubernetes.io" or domain.endswith(".kubernetes.io")
    return is_core and domain != "app.kubernetes.io"


def _label_value(text: str) -> str:
    if not _LABEL_VALUE.fullmatch(text):
        raise ValueError("a label's value has at most 63 of A-Z a-z 0-9 - _ . and ends in letters or digits")
    return text


def _workload(name: str) -> str:
    if not _WORKLOAD.fullmatch(name):
        raise ValueError(f"{name!r} is not a legal name of a workload; templates are not filled in here")
    return name


Namespace = Annotated[StrictStr, AfterValidator(_namespace)]
QualifiedName = Annotated[StrictStr, AfterValidator(_qualified_name)]
LabelValue = Annotated[StrictStr, AfterValidator(_label_value)]
SelectorName = Annotated[StrictStr, AfterValidator(_any_qualified_name)]
WorkloadName = Annotated[StrictStr, AfterValidator(_workload)]


class KubernetesSinkOptions(KubernetesOptions):
    """A cluster's Secrets."""

    namespaces: Annotated[tuple[Namespace, ...], AfterValidator(_some)] | None = None
    """The only namespaces that are written to, and read one by one, so that a Role in each is
    enough. Default: any but Kubernetes' own, with a ClusterRole; listed here, those too."""


class RestartOptions(ClientOptions):
    """Workloads in the Secret's namespace: one by its name, or all that have some labels."""

    kind: Literal["Deployment", "StatefulSet", "DaemonSet"]
    """Their kind: Deployment, StatefulSet or DaemonSet."""
    name: WorkloadName | None = None
    """The name of one."""
    selector: Annotated[dict[SelectorName, LabelValue], Field(min_length=1)] | None = None
    """Labels that the workload itself must have, with exactly these values."""

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if (self.name is None) == (self.selector is None):
            raise ValueError("needs name or selector, and not both")
        return self

    def workloads(self) -> Workloads:
        return Workloads(kind=self.kind, name=self.name, selector=self.selector or {})


class KubernetesTargetOptions(TargetOptions):
    """One Secret for each installation."""

    model_config = ClientOptions.model_config

    namespace: StrictStr = "{namespace}"
    """Template of the Kubernetes namespace. It is never created."""
    name: StrictStr = "{installation}-outputs"
    """Template of the Secret's name."""
    type: Annotated[StrictStr, AfterValidator(_secret_type)] = "Opaque"
    """Type of the Secret; that of an existing one cannot be changed."""
    labels: dict[QualifiedName, LabelValue] = Field(default_factory=dict)
    """Labels beside the sink's own."""
    annotations: dict[QualifiedName, StrictStr] = Field(default_factory=dict)
    """Annotations beside the mark."""
    restart: tuple[RestartOptions, ...] = ()
    """Workloads to restart when the Secret's content changed, because they read it once only."""

    def shape(self) -> TargetShape:
        labels = {f"label:{name}": value for name, value in self.labels.items()}
        annotations = {f"annotation:{name}": value for name, value in self.annotations.items()}
        attributes = {"type": self.type, **labels, **annotations}
        return TargetShape(
            parts=(self.namespace, self.name),
            layout=Layout.BUNDLE,
            attributes=attributes,
            restart=tuple(one.workloads() for one in self.restart),
        )
