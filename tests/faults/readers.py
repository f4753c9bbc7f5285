"""Requests one page with many clients at once, in a separate process, so that the test's servers are not slowed down.

usage: python -m tests.faults.readers URL COUNT prints the number of answers per status, and the seconds it took
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

import aiohttp


async def read(url: str, count: int) -> Counter[int]:
    """Send all requests at the same time."""
    timeout, connector = aiohttp.ClientTimeout(total=60), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client:

        async def look() -> int:
            async with client.get(url) as answer:
                await answer.read()
                return answer.status

        return Counter(await asyncio.gather(*(look() for _ in range(count))))


if __name__ == "__main__":
    began = time.monotonic()
    found = asyncio.run(read(sys.argv[1], int(sys.argv[2])))
    print(json.dumps({"statuses": found, "seconds": time.monotonic() - began}))
