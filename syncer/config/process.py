"""The part of the configuration file that only `syncer run` asks for: who writes, and what it tells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StrictBool, StrictStr, model_validator

from backends.clients.kubernetes_options import KubernetesOptions
from syncer.config.durations import Duration
from syncer.config.settings import DnsLabel, Settings

_LEASE_JITTER: Final = 1.2
_DNS_NAME_PATTERN: Final = r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$"
ADDRESS_PATTERN: Final = r"^(\[[0-9a-fA-F:.]+\]|[-.A-Za-z0-9]+):[0-9]{1,5}$"


class LeaseElection(KubernetesOptions):
    """By a Lease of Kubernetes: for several replicas."""

    kind: Literal["lease"]
    """How it is made sure that one process writes: by a `lease`, by a `file`, or not at all (`none`)."""
    namespace: DnsLabel
    """Namespace of the Lease."""
    name: Annotated[StrictStr, Field(pattern=_DNS_NAME_PATTERN)] | None = None
    """Name of the Lease. Default: `porter-outputs-syncer-` and the instance's name."""
    lease_duration: Duration = 15.0
    """How long a leader that vanished is waited for before another process takes over."""
    renew_deadline: Duration = 10.0
    """How long a leader that cannot renew its lease goes on writing; shorter than `leaseDuration`."""
    retry_period: Duration = 2.0
    """How often the lease is renewed, and asked for by those that stand by."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        """As `engine.lease` wants them: else two processes could lead at once."""
        if not self.retry_period * _LEASE_JITTER < self.renew_deadline < self.lease_duration:
            raise ValueError("should have retryPeriod * 1.2 < renewDeadline < leaseDuration")
        return self


class FileElection(Settings):
    """By a locked file: for processes of one machine."""

    kind: Literal["file"]
    """How it is made sure that one process writes: by a `lease`, by a `file`, or not at all (`none`)."""
    path: Path | None = None
    """The file; its folder has to exist. Default: in the folder for temporary files, named after user
    and instance."""


class NoElection(Settings):
    """Not at all: whoever starts the processes sees to it that there is one."""

    kind: Literal["none"]
    """How it is made sure that one process writes: by a `lease`, by a `file`, or not at all (`none`)."""


class TelemetrySettings(Settings):
    """What `syncer run` tells."""

    listen: Annotated[StrictStr, Field(pattern=ADDRESS_PATTERN)] | None = "127.0.0.1:9464"
    """Address and port of `/metrics`, `/healthz` and `/readyz`, such as `0.0.0.0:9464`; null for none."""
    events: StrictBool = True
    """Whether changes and conflicts become Kubernetes Events beside the Secrets of `kubernetes` sinks."""
