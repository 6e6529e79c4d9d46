"""What `--help` says of each command: first lines go into lists, the rest teaches.

Here and not in the commands' modules, so that a list of commands imports none of them.
"""

from __future__ import annotations

from typing import Final

PROGRAM: Final = """Keeps the outputs of Porter installations in sync with where applications read secrets.

Begin with `syncer config init > syncer.yaml`, then `syncer doctor`, `syncer plan` and `syncer once`.
"""

ONCE: Final = """Make one full pass: read everything, write what differs, take away what is gone.

Exit code: 0 all in sync, 1 something failed, 2 bad usage or configuration, 4 nothing failed, but
something is held or in conflict.

Example: `syncer once -c syncer.yaml`
"""

RUN: Final = """Keep everything in sync, until told to end.

Notices new runs within the poll interval, repairs what others change in the sinks, and takes away what
is gone. Several processes agree on the one that writes (`leaderElection`). SIGHUP reads the
configuration anew, as does a change of it; SIGTERM ends in good order. Exit code: 0, or 1 where it
could not begin, 2 bad usage or configuration.

Example: `syncer run -c syncer.yaml`
"""

API: Final = """Serve the gRPC Outputs API, and nothing else, until told to end.

Reads Porter's data and writes nowhere. Who may call and what they may read is set by `api` in the
configuration; without it, whoever is on this machine may read what is not sensitive, at 127.0.0.1:3001.
`run` serves the same API with `api: {enabled: true}`. Signals and exit codes are those of `run`.

Example: `syncer api -c syncer.yaml`, and then
`buf curl --schema proto --protocol grpc --http2-prior-knowledge \
http://127.0.0.1:3001/porter.outputs.v1alpha1.PorterBundle/ListInstallations`
"""

PLAN: Final = """Show what `once` would do, without values and without writing.

Needs no right to write. Exit code: 1 something failed, else 3 there are changes, else 4 something
is held or in conflict, else 0.

Example: `syncer plan -o json | jq .summary`
"""

STATUS: Final = """Show how every installation stands at every target.

Exit code: 1 something could not be read, else 0, whatever the states are.

Example: `syncer status -o yaml`
"""

GC: Final = """Show what is no longer wanted, and release deletions that are held.

Lists deletions, held sets with the hash that releases them, and orphaned secrets. With --approve
or --prune it deletes; it never creates or updates anything. Exit code: without them as `plan`,
with them as `once`.

Example: `syncer gc --approve 3f2a9c0d11e87b54`
"""

ADOPT: Final = """Take over a secret that somebody else wrote, on purpose.

What is at the address is replaced, and is ours from then on; whose it was is said before. Nothing
else is touched. Exit code as `once`.

Example: `syncer adopt cluster:shop/orders-db-outputs`
"""

DOCTOR: Final = """Check that everything configured can be reached, with the right rights.

Exit code: 1 something does not work, else 0. Warnings, such as more rights than needed, do not
count.

Example: `syncer doctor -c syncer.yaml`
"""

VERSION: Final = """Print the version.

Example: `syncer version`
"""

CONFIG: Final = "Check a configuration file, or begin one."

CONFIG_CHECK: Final = """Check a configuration file.

Every mistake is named, with file, line and setting. Exit code 2 if there is one.

Example: `syncer config check -c syncer.yaml`
"""

CONFIG_SCHEMA: Final = """Print the JSON Schema of the configuration file, for editors.

Example: `syncer config schema > syncer.schema.json`
"""

CONFIG_INIT: Final = """Print a commented configuration file to begin with.

Example: `syncer config init > syncer.yaml`
"""

INSTALLATIONS: Final = "Show installations, their runs and their outputs."

INSTALLATIONS_LIST: Final = """List installations, newest change first.

Example: `syncer installations list --all-namespaces -l team=api`
"""

RUNS: Final = "Show the runs of an installation."

RUNS_LIST: Final = """List an installation's runs, last started first.

Example: `syncer installations runs list orders-db -n shop`
"""

OUTPUTS: Final = "Show the outputs of an installation."

OUTPUTS_LIST: Final = """List the latest successful outputs of an installation, or those of one run.

Sensitive values are masked, and not even read, unless --show-sensitive is given.

Example: `syncer installations outputs list orders-db -n shop -o json --show-sensitive`
"""

OUTPUTS_SHOW: Final = """Print one output's value as it is, sensitive or not.

No newline is added at its end.

Example: `syncer installations outputs show ca.crt -i orders-db -n shop > ca.crt`
"""
