"""`python -m tests.servers.keyvault [--limits]`: one vault in a process of its own, for a benchmark or a person.

The first line of the output is JSON: how to reach it. After that each line of the input is a command answered by
one line of JSON: `stats` (what was asked so far) and `forget` (counts begin anew). It runs until it is terminated.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

from tests.servers.keyvault.handle import Vault
from tests.servers.keyvault.server import KeyVaultServer
from tests.servers.keyvault.throttle import Limits


def main(arguments: Sequence[str]) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    server = KeyVaultServer.start()
    try:
        limits = Limits(creates=parsed.creates, others=parsed.others) if parsed.limits else None
        serve(server, server.new_vault(limits=limits))
    except KeyboardInterrupt:
        return 0
    finally:
        server.stop()
    return 0


def serve(server: KeyVaultServer, vault: Vault) -> None:
    """Says how to reach the vault, then follows commands for as long as the process runs."""
    _say(server.reach(vault))
    for line in sys.stdin:
        match line.strip():
            case "stats":
                _say({"counts": vault.counts(), "writes": vault.writes, "busiest_set": vault.busiest("set")})
            case "forget":
                vault.forget_requests()
                _say({})
            case command:
                _say({"unknown": command})
    while True:
        signal.pause()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.servers.keyvault", description=__doc__)
    parser.add_argument("--limits", action="store_true", help="throttle as the service does")
    parser.add_argument("--creates", type=int, default=Limits().creates, help="sets in ten seconds")
    parser.add_argument("--others", type=int, default=Limits().others, help="other requests in ten seconds")
    return parser


def _say(fields: Mapping[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(fields)}\n")
    sys.stdout.flush()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
