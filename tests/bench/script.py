"""The comparator: what one would write with the provider's own package. It prints each end as it sees it.

Every cycle it lists all jobs of each organisation, a hundred a page with auto-paging, and the newest events of each job
that is not final.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from openai import AsyncOpenAI

FINAL = frozenset({"succeeded", "failed", "cancelled"})


async def look(client: AsyncOpenAI, known: dict[str, str], *, events: bool) -> None:
    """One organisation, once."""
    active = []
    async for job in client.fine_tuning.jobs.list(limit=100):
        if job.status in FINAL and known.get(job.id) not in (None, *FINAL):
            sys.stdout.write(f"{job.id} {time.time()}\n")
            sys.stdout.flush()
        known[job.id] = job.status
        if job.status not in FINAL:
            active.append(job.id)
    if events:
        for job_id in active:
            page = await client.fine_tuning.jobs.list_events(job_id, limit=100)
            for event in page.data:
                known[event.id] = event.message


async def main(url: str, orgs: int, interval: float, *, events: bool) -> None:
    """For ever."""
    clients = [AsyncOpenAI(api_key="sk-bench", base_url=f"{url}/o{n}/v1", max_retries=2) for n in range(orgs)]
    known: list[dict[str, str]] = [{} for _ in clients]
    while True:
        began = time.monotonic()
        await asyncio.gather(*(look(*pair, events=events) for pair in zip(clients, known, strict=True)))
        sys.stdout.write("cycle\n")
        sys.stdout.flush()
        await asyncio.sleep(max(interval - (time.monotonic() - began), 0.0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--orgs", type=int, required=True)
    parser.add_argument("--interval", type=float, required=True)
    parser.add_argument("--no-events", dest="events", action="store_false")
    given = parser.parse_args()
    asyncio.run(main(given.url, given.orgs, given.interval, events=given.events))
