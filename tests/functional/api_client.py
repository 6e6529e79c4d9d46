"""A client of the API as anybody could write it: python api_client.py STUBS ADDRESS CA_FILE < calls.json

Knows nothing of this project but code generated from the protos, in the folder STUBS. Reads
`{"token": ..., "calls": [[service, method, request], ...]}`, and writes one answer for each.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

MODULES = {
    "porter.outputs.v1alpha1.PorterBundle": "porter.outputs.v1alpha1.porter_bundle",
    "porter.v1alpha1.Porter": "porter.v1alpha1.porter",
}


def answered(channel: grpc.Channel, token: str, service: str, method: str, request: Any) -> dict[str, Any]:
    messages = importlib.import_module(f"{MODULES[service]}_pb2")
    stubs = importlib.import_module(f"{MODULES[service]}_pb2_grpc")
    name = service.rpartition(".")[2]
    described = messages.DESCRIPTOR.services_by_name[name].methods_by_name[method]
    kind = described.input_type._concrete_class
    stub = getattr(stubs, f"{name}Stub")(channel)
    login = (("authorization", f"Bearer {token}"),)
    try:
        answer = getattr(stub, method)(json_format.ParseDict(request, kind()), metadata=login, timeout=20)
    except grpc.RpcError as error:
        return {"code": error.code().name.lower(), "message": error.details()}
    found: dict[str, Any] = json_format.MessageToDict(answer)
    return found


def main(stubs: str, address: str, ca_file: str) -> None:
    sys.path.insert(0, stubs)
    wanted = json.load(sys.stdin)
    credentials = grpc.ssl_channel_credentials(Path(ca_file).read_bytes())
    with grpc.secure_channel(address, credentials) as channel:
        answers = [answered(channel, wanted["token"], *one) for one in wanted["calls"]]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
