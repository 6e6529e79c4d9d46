"""Files as a kind of sink: a folder for each secret, swapped whole as the kubelet does it.

`options`, `names` and `marks` are pure; `state` tells what a folder's content means,
`folders` is the file system, `writing` the steps of a change, `sink` the sink.
"""

from __future__ import annotations

from backends.contract import SinkKind
from backends.file.names import FileNaming
from backends.file.options import CAPABILITIES, FileOptions, FileTarget
from backends.file.sink import FileSink


def _naming(_: FileOptions, /) -> FileNaming:
    return FileNaming()


def _create(options: FileOptions, /) -> FileSink:
    return FileSink(options)


KIND = SinkKind(
    kind="file",
    options=FileOptions,
    target=FileTarget,
    capabilities=CAPABILITIES,
    naming=_naming,
    create=_create,
)
