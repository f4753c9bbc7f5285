"""Where notifications go, and their signatures: addresses in every spelling, rotated secrets, many bad targets."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from monitor import notifiers
from monitor.notifiers.address import url_problem
from monitor.notifiers.base import FailureKind, HttpRequest, SendError
from monitor.notifiers.http import post
from tests.e2e.daemon import until
from tests.e2e.receivers import SIGNING as HOOK
from tests.faults.daemon import watched
from tests.faults.delivery import SIGNING, hook, running_couriers
from tests.faults.hostile import Hostile
from tests.faults.targets import OK, Target, bomb, drip, half, hang, listening, pour, reset, say

pytestmark = pytest.mark.fault("G31")

OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.mark.fault("D17")
@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::169.254.169.254]",
        "[2002:a9fe:a9fe::1]", "[fe80::1]", "[fd00:ec2::254]", "0.0.0.0", "[::]", "224.0.0.1", "[ff02::1]",  # noqa: S104 - an address to refuse, not to listen on
        "255.255.255.255", "100.100.100.200", "0.0.0.1", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
        "169.254.43518", "0xa9.0xfe.0xa9.0xfe", "1\u06f69.254.169.254", "169\u3002254\u3002169\u3002254",
        "\uff11\uff16\uff19.254.169.254", "0", "%31%36%39.254.169.254",
    ],
    ids=ascii,
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_spelling_leads_to_an_address_that_is_refused(host: str, scheme: str) -> None:
    url = f"{scheme}://{host}/latest/meta-data"
    if url_problem(url) is not None:
        return  # refused at the start already
    began = time.monotonic()
    async with notifiers.session() as session:
        with pytest.raises(SendError) as caught:
            await post(session, HttpRequest(url=url, body=b"{}"), timeout=3.0)
    assert caught.value.reason in {"address_refused", "bad_settings", "unreachable"}
    if caught.value.reason == "unreachable":  # a name that does not exist; no connection was tried
        assert "host name does not resolve" in str(caught.value) or time.monotonic() - began < 0.5


@pytest.mark.fault("D17")
async def test_a_name_that_leads_inside_is_refused_where_only_the_public_is_allowed() -> None:
    target = Target()
    async with listening(target), notifiers.session(public_only=True) as session:
        for url in (target.url, target.url.replace("127.0.0.1", "localhost")):
            with pytest.raises(SendError) as caught:
                await post(session, HttpRequest(url=url, body=b"{}"), timeout=3.0)
            assert (caught.value.kind, caught.value.reason) == (FailureKind.TARGET, "address_refused")
    assert target.letters == []


@pytest.mark.fault("G31")
async def test_the_process_keeps_to_public_addresses_where_it_is_told_to(tmp_path: Path) -> None:
    async with watched(tmp_path, Hostile("research"), outbound={"public_only": True}) as seen:
        await until(seen.up)
        seen.apis["research"].begin("ftjob-1")
        await seen.polled("research", 2)
        seen.apis["research"].move("ftjob-1", "succeeded")
        parked = 'finetune_notifier_parked{notifier="hook"}'

        async def is_parked() -> bool:
            return (await seen.daemon.metrics())[parked] == 1

        async def refused() -> bool:
            return (await seen.daemon.json("/api/v1/deliveries"))["data"][0]["reason"] is not None

        await until(is_parked)
        await until(refused)  # the result of a delivery is stored a moment later
        (one,) = (await seen.daemon.json("/api/v1/deliveries"))["data"]
    assert (one["state"], one["reason"], seen.told) == ("pending", "address_refused", [])


@pytest.mark.fault("D18")
async def test_while_a_secret_is_rotated_both_sign_and_a_changed_file_holds_at_once(tmp_path: Path) -> None:
    target, file = Target(), tmp_path / "signing"
    file.write_text(SIGNING + "\n", encoding="utf-8")
    async with listening(target):
        both, filed = hook("both", target, secret=[SIGNING, OTHER]), hook("filed", target, secret=None)
        filed = filed.model_copy(update={"secret": None, "secret_file": file})
        async with running_couriers(tmp_path, both, filed) as couriers:
            await couriers.enqueue("a", to=("both",))
            await until(lambda: len(target.letters) == 1)
            letter = target.letters[0]
            assert len(letter.headers["webhook-signature"].split()) == 2
            for secret in (SIGNING, OTHER):
                Webhook(secret).verify(letter.body.decode(), letter.headers)
            await couriers.enqueue("b", to=("filed",))
            await until(lambda: len(target.letters) == 2)
            Webhook(SIGNING).verify(target.letters[1].body.decode(), target.letters[1].headers)
            fresh = tmp_path / "fresh"
            fresh.write_text(OTHER, encoding="utf-8")
            os.replace(fresh, file)  # noqa: PTH105 - as Kubernetes swaps it
            await couriers.enqueue("c", to=("filed",))
            await until(lambda: len(target.letters) == 3)
            Webhook(OTHER).verify(target.letters[2].body.decode(), target.letters[2].headers)


@pytest.mark.fault("G12", "D12")
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_every_bad_target_at_once_beside_a_good_one_and_a_job_that_is_too_large(tmp_path: Path) -> None:
    acts = {"hang": hang, "reset": reset, "half": half, "drip": drip, "gone": say(410), "down": say(503),
            "moved": say(302, b"", "Location: http://127.0.0.1:1/"), "pour": pour(512), "bomb": bomb(50),
            "limited": say(429, b"", "Retry-After: 2"), "deaf": hang}  # fmt: skip
    targets = {name: Target([act], deaf=name == "deaf") for name, act in acts.items()}
    huge = "x" * 1_000_000
    api = Hostile("research")
    async with listening(*targets.values()):
        bad = [{"name": name, "type": "webhook", "url": target.url, "secret": HOOK} for name, target in targets.items()]

        async with watched(
            tmp_path,
            api,
            notifiers=[*bad, {"name": "hook", "type": "webhook", "url": "http://127.0.0.1:9/", "secret": HOOK}],
            routes=[{"notify": [*acts, "hook"]}],
        ) as seen:
            seen.daemon.settings["notifiers"][-1]["url"] = seen.hook.url
            await seen.daemon.stop()
            await seen.daemon.start()
            await until(seen.up)
            for number in range(5):
                api.begin(f"ftjob-{number}", error={"code": "x", "message": huge if number == 3 else "\U0001f98a" * 9},
                          metadata={f"{n:03}": "x" * 512 for n in range(100)})  # fmt: skip
            await seen.polled("research", 2)
            late = [await seen.ends("research", f"ftjob-{number}", "failed", 5) for number in range(5)]
            print(f"the good target heard after at most {max(late):.2f} s; {seen.rss} MB")
            assert max(late) < 2.5
            assert all(len(json.dumps(told.data)) < 256_000 for told in seen.told)
            assert len(targets["gone"].letters) == 1
            for target in targets.values():
                target.acts, target.deaf = [OK], False

            async def drained() -> bool:
                counts = await seen.daemon.metrics()
                return all(
                    counts[f'finetune_outbox_pending{{notifier="{name}"}}'] == 0 for name in acts if name != "gone"
                )

            await until(drained, 60)
            for name, target in targets.items():
                if name != "gone":
                    assert set(target.keys()) == {f"research/ftjob-{n}/2@{name}" for n in range(5)}, name
