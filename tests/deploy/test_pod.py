"""The pod of the manifests as a kubelet runs it: files, command, probes, a renewed key, and its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ruamel.yaml import YAML

from monitor.simulator import Simulation, organisations, serve
from tests.deploy.manifests import BASE, Object, container, kustomized, only, pod, with_tools
from tests.e2e.daemon import FAST, until

pytestmark = [pytest.mark.slow, with_tools("kubectl")]


@dataclass(frozen=True, kw_only=True)
class Pod:
    """The monitor's pod with its mounts in a local folder."""

    folder: Path
    port: int

    def there(self, text: str) -> str:
        """A text with the pod's paths and port replaced by local ones."""
        mounts = {mount["mountPath"]: mount["name"] for mount in container(kustomized(BASE))["volumeMounts"]}
        places = re.compile("|".join(map(re.escape, mounts)))
        moved = places.sub(lambda found: str(self.folder / mounts[found.group()]), text)
        return moved.replace(":10877", f"127.0.0.1:{self.port}")

    def put(self, volume: str, files: dict[str, str]) -> None:
        """Fill a volume like a kubelet: with links into `..data`, which is a link to the current folder."""
        place = self.folder / volume
        place.mkdir(exist_ok=True)
        moment = place / f"..{len(list(place.iterdir()))}"
        moment.mkdir()
        for name, text in files.items():
            (moment / name).write_text(text)
            (moment / name).chmod(pod(kustomized(BASE))["volumes"][1]["secret"]["defaultMode"])
        (place / "..fresh").symlink_to(moment.name)
        (place / "..fresh").rename(place / "..data")
        for name in files:
            if not (place / name).is_symlink():
                (place / name).symlink_to(Path("..data") / name)

    async def probe(self, which: str) -> int:
        """The status of a probe; 0 when nothing listens."""
        asked = container(kustomized(BASE))[which]["httpGet"]
        try:
            async with aiohttp.ClientSession() as session, session.get(self._url(asked["path"])) as response:
                return response.status
        except aiohttp.ClientConnectionError:
            return 0

    async def well(self, which: str) -> bool:
        """Whether a probe succeeds."""
        return await self.probe(which) == 200

    async def up(self) -> bool:
        """Whether the last poll of the organisation succeeded."""
        return await self._says('finetune_org_up{org="research"} 1')

    async def down(self) -> bool:
        """Whether it failed."""
        return await self._says('finetune_org_up{org="research"} 0')

    async def _says(self, series: str) -> bool:
        async with aiohttp.ClientSession() as session, session.get(self._url("/metrics")) as response:
            return series in await response.text()

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def running(here: Pod) -> AsyncIterator[asyncio.subprocess.Process]:
    """The container's process, in the image's working directory and with only PATH of this environment."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor", *map(here.there, container(kustomized(BASE))["args"]),
        cwd=here.folder / "data", env={"PATH": os.environ["PATH"], "TMPDIR": str(here.folder / "tmp")},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def configuration(here: Pod, base_url: str) -> str:
    """The manifests' configuration for a simulated organisation, with short intervals."""
    (text,) = only("ConfigMap", kustomized(BASE))["data"].values()
    read: dict[str, Any] = YAML(typ="safe").load(here.there(text))
    read["organizations"][0]["base_url"] = base_url
    file = here.folder / "edited.yaml"
    YAML().dump({**read, "poll": FAST}, file)
    return file.read_text()


async def test_it_starts_answers_its_probes_follows_a_renewed_key_and_ends_in_time(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here = Pod(folder=tmp_path, port=free.getsockname()[1])
    for volume in pod(kustomized(BASE))["volumes"]:
        (tmp_path / volume["name"]).mkdir()
    simulation = Simulation(organisations(1))
    keys = {"research": simulation.orgs[0].key + "\n", "slack-hook": "https://127.0.0.1:9/services/0123456789abcdef\n"}
    async with serve(simulation) as base_url:
        here.put("config", {"config.yaml": configuration(here, base_url)})
        here.put("secrets", keys)
        async with running(here) as process:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                await until(partial(here.well, probe))
            await until(here.up)

            here.put("secrets", {**keys, "research": "sk-proj-0123456789abcdefghijklmnop"})
            await until(here.down)
            assert await here.probe("livenessProbe") == 200

            assert (tmp_path / "data" / "monitor.db").is_file()
            process.send_signal(signal.SIGTERM)
            allowed: Object = pod(kustomized(BASE))
            assert await asyncio.wait_for(process.wait(), allowed["terminationGracePeriodSeconds"]) == 0
