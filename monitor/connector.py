"""The connections of HTTP clients: none is used again on which an unsolicited response has arrived."""

from __future__ import annotations

from typing import Any

import aiohttp


class Connector(aiohttp.TCPConnector):
    """Never reuses a connection on which an unsolicited response has arrived.

    That response would be taken for the answer to the next request, and so on for every later one.
    """

    async def connect(self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout) -> Any:
        """A connection without unsolicited data. Raises aiohttp's errors."""
        while True:
            connection = await super().connect(req, traces, timeout)
            # If a release of aiohttp has no such attribute, the connection is used without this check.
            if not getattr(connection.protocol, "should_close", False):
                return connection
            connection.close()
