"""A fine-tuning API that answers fast enough to load others: OpenAI's lists, kept compressed, behind some latency.

Run as a process: it prints its address and serves `/ORG/v1/…` for each organisation, `/hook` for a webhook receiver,
and `/-/stats`, `/-/end` for whoever measures.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PAGE = 100
JSON = {"Content-Type": "application/json", "Content-Encoding": "gzip", "openai-version": "2020-10-01"}


@dataclass(slots=True)
class Load:
    """What there is to be watched."""

    orgs: int
    jobs: int
    active: int
    events: int
    """Events of an active job at the start."""
    period: float
    """Seconds between two events of an active job; 0: it writes none."""
    latency: float
    changing: bool = False
    """Whether every answer to a list differs from the one before."""
    start: float = field(default_factory=time.time)
    requests: Counter[str] = field(default_factory=Counter)
    ends: dict[str, float] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)
    changes: list[float] = field(default_factory=list)
    """Seconds from one replica's poll of an organisation to the next, by another replica."""
    posts: list[float] = field(default_factory=list)
    """When a message came for Slack, monotonic."""
    _polls: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Who polled each organisation last, and when."""
    _pages: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def running(self, org: str, number: int) -> bool:
        """Whether this job of the organisation still trains. Job 0 is the newest."""
        return number < self.active and job_id(org, number) not in self.ends

    def job(self, org: str, number: int) -> dict[str, Any]:
        """One job as the provider lists it, about 1.4 kB."""
        created = int(self.start) - 600 - number * 1800
        ended = self.ends.get(job_id(org, number))
        running = self.running(org, number)
        done = None if running else int(ended or created + 1500)
        return {
            "object": "fine_tuning.job",
            "id": job_id(org, number),
            "model": "gpt-4o-mini-2024-07-18",
            "created_at": created,
            "finished_at": done,
            "estimated_finish": int(time.time() * 10) if running and self.changing else None,
            "fine_tuned_model": None if running else f"ft:gpt-4o-mini-2024-07-18:acme:{org}:{number:08d}",
            "organization_id": f"org-{org}",
            "result_files": [] if running else [f"file-{org}-{number}-result"],
            "status": "running" if running else "succeeded",
            "validation_file": None,
            "training_file": f"file-{org}-{number}",
            "hyperparameters": {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.8},
            "trained_tokens": None if running else 100_000 + number,
            "error": None,
            "user_provided_suffix": f"support-{number}",
            "seed": number,
            "integrations": [],
            "metadata": {f"key-{n}": f"value {n} of job {number} " + "x" * 40 for n in range(8)},
            "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 4}}},
        }

    def polled(self, org: str, replica: str) -> None:
        """Somebody asks for the newest jobs."""
        now = time.monotonic()
        was, at = self._polls.get(org, (replica, now))
        if was != replica:
            self.changes.append(now - at)
        self._polls[org] = replica, now

    def page(self, org: str, after: str) -> bytes:
        """One page of the list of jobs, compressed."""
        key = (org, after)
        if key not in self._pages or self.changing:
            first = int(after.rsplit("-", 1)[1]) + 1 if after else 0
            numbers = range(first, min(first + PAGE, self.jobs))
            items = [self.job(org, number) for number in numbers]
            self._pages[key] = packed({"object": "list", "data": items, "has_more": numbers.stop < self.jobs})
        return self._pages[key]

    def events_page(self, org: str, job: str, after: str, limit: int) -> bytes:
        """One page of a job's events, newest first."""
        number = int(job.rsplit("-", 1)[1])
        written = self.events if number < self.active else 0
        if self.period and self.running(org, number):
            written += int((time.time() - self.start) / self.period)
        newest = int(after.rsplit("-", 1)[1]) - 1 if after else written - 1
        items = [self.event(job, n) for n in range(newest, max(newest - limit, -1), -1)]
        return packed({"object": "list", "data": items, "has_more": newest - limit >= 0})

    def event(self, job: str, number: int) -> dict[str, Any]:
        """One event: a measurement."""
        figures = {"step": number + 1, "total_steps": 100_000, "train_loss": 2 / (number + 1), "full_valid_loss": None}
        return {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{job}-{number}",
            "created_at": int(self.start + (number - self.events) * (self.period or 1.0)),
            "level": "info",
            "message": f"Step {number + 1}/100000: training loss={2 / (number + 1):.2f}",
            "data": figures,
            "type": "metrics",
        }

    def end(self, count: int) -> None:
        """End some jobs that run."""
        chosen = [(f"o{org}", number) for org in range(self.orgs) for number in range(self.active)]
        chosen = [one for one in chosen if self.running(*one)]
        for org, number in random.sample(chosen, min(count, len(chosen))):
            self.ends[job_id(org, number)] = time.time()
            self._pages = {key: page for key, page in self._pages.items() if key[0] != org}


def job_id(org: str, number: int) -> str:
    """The id of a job; its number is behind the last dash."""
    return f"ftjob-{org}-{number}"


def packed(body: Any) -> bytes:
    """JSON, compressed."""
    return gzip.compress(json.dumps(body, separators=(",", ":")).encode(), 1)


@dataclass(frozen=True, slots=True)
class Server:
    """What answers. Only the provider's side is slow. The methods are aiohttp handlers."""

    load: Load

    async def _answer(self, operation: str, body: bytes) -> web.Response:
        self.load.requests[operation] += 1
        await asyncio.sleep(self.load.latency)
        return web.Response(body=body, headers=JSON)

    async def jobs(self, request: web.Request) -> web.Response:
        """The list of jobs. Replicas say which they are in a header."""
        if "after" not in request.query:
            self.load.polled(request.match_info["org"], request.headers.get("X-Replica", ""))
        return await self._answer(
            "list_jobs", self.load.page(request.match_info["org"], request.query.get("after", ""))
        )

    async def job(self, request: web.Request) -> web.Response:
        """One job."""
        org, number = request.match_info["org"], int(request.match_info["job"].rsplit("-", 1)[1])
        return await self._answer("get_job", packed(self.load.job(org, number)))

    async def events(self, request: web.Request) -> web.Response:
        """A job's events."""
        org, of = request.match_info["org"], request.match_info["job"]
        page = self.load.events_page(org, of, request.query.get("after", ""), int(request.query.get("limit", 20)))
        return await self._answer("list_events", page)

    async def models(self, _request: web.Request) -> web.Response:
        """No tuned models."""
        return await self._answer("list_models", packed({"object": "list", "data": []}))

    async def missing(self, _request: web.Request) -> web.Response:
        """Training files and whatever else is asked for."""
        self.load.requests["other"] += 1
        await asyncio.sleep(self.load.latency)
        return web.json_response({"error": {"message": "not here", "type": "invalid_request_error"}}, status=404)

    async def hook(self, request: web.Request) -> web.Response:
        """A receiver of notifications."""
        told = json.loads(await request.read())
        self.load.told.setdefault(told["data"]["job"]["id"], time.time())
        return web.Response(status=204)

    async def slack(self, _request: web.Request) -> web.Response:
        """A channel of Slack."""
        self.load.posts.append(time.monotonic())
        return web.Response(text="ok")

    async def stats(self, _request: web.Request) -> web.Response:
        """What was counted."""
        of = self.load
        figures = {
            "requests": of.requests, "ends": of.ends, "told": of.told, "cpu": time.process_time(),
            "changes": of.changes, "posts": of.posts,
        }  # fmt: skip
        return web.json_response(figures)

    async def end(self, request: web.Request) -> web.Response:
        """Let jobs end."""
        self.load.end(int(request.query["count"]))
        return web.Response(status=204)


def application(load: Load) -> web.Application:
    """The addresses."""
    of, app = Server(load), web.Application()
    app.router.add_get("/{org}/v1/fine_tuning/jobs", of.jobs)
    app.router.add_get("/{org}/v1/fine_tuning/jobs/{job}", of.job)
    app.router.add_get("/{org}/v1/fine_tuning/jobs/{job}/events", of.events)
    app.router.add_get("/{org}/v1/models", of.models)
    app.router.add_post("/hook", of.hook)
    app.router.add_post("/slack", of.slack)
    app.router.add_get("/-/stats", of.stats)
    app.router.add_post("/-/end", of.end)
    app.router.add_get("/{org}/{rest:.*}", of.missing)
    return app


async def main(load: Load) -> None:
    """Serve until the process is ended."""
    runner = web.AppRunner(application(load), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    host, port = runner.addresses[0][:2]
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("orgs", "jobs", "active", "events"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("period", "latency"):
        parser.add_argument(f"--{name}", type=float, required=True)
    parser.add_argument("--changing", action="store_true")
    asyncio.run(main(Load(**vars(parser.parse_args()))))
