"""The contract suite every sink must pass: ours, and third parties'. Needs pytest, no plug-in.

A sink's author writes a `Rig`, which plays somebody else at the same server, and a fixture
that opens one; the cases come with the class. An example::

    class TestMySink(SinkContract):
        @pytest.fixture
        def open_rig(self, my_server):
            @asynccontextmanager
            async def opened():
                async with MySink(my_server.options) as sink:
                    yield MyRig(sink=sink, kind=KIND, server=my_server)

            return opened

Every case opens its own rig in its own event loop, and expects a place of its own: nobody
else's secrets under the rig's owner, nothing at its addresses. Sinks differ by their
`Capabilities` alone; a case that does not apply is skipped and says why. What only one
server does (a namespace being removed, a sealed vault) belongs into that sink's own tests.
`pytest.register_assert_rewrite("backends.testing")` in a conftest makes failures readable.
"""

from backends.testing.rig import CANARY, OpenRig, Raw, Rig, desired, refused
from backends.testing.suite import SinkContract

__all__ = ["CANARY", "OpenRig", "Raw", "Rig", "SinkContract", "desired", "refused"]
