"""The simulator's HTTP: statuses, error bodies, headers and separation of organisations."""

from __future__ import annotations

import json

import aiohttp
import pytest

from monitor.simulator import Simulation, organisations, serve, training_file
from tests.simulator.conftest import STEADY, Client, HandClock


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        pytest.param({}, None, id="no key"),
        pytest.param({"Authorization": "Basic abc"}, None, id="another scheme"),
        pytest.param({"Authorization": "Bearer sk-wrong"}, "invalid_api_key", id="a wrong key"),
        pytest.param({"OpenAI-Organization": "org-other"}, "mismatched_organization", id="another organisation"),
        pytest.param({"OpenAI-Project": "proj_other"}, "mismatched_project", id="another project"),
    ],
)
async def test_strangers_get_401(client: Client, headers: dict[str, str], code: str | None) -> None:
    sent = {"Authorization": f"Bearer {client.org.key}", **headers} if headers else {}
    async with client.session.get(f"{client.base_url}/fine_tuning/jobs", headers=sent) as response:
        body = await response.json()
    assert response.status == 401
    assert body["error"]["code"] == code
    assert set(body["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        pytest.param("GET", "/fine_tuning/jobs/ftjob-none", 404, "fine_tune_not_found", id="unknown job"),
        pytest.param("GET", "/fine_tuning/jobs/ftjob-none/events", 404, "fine_tune_not_found", id="events of no job"),
        pytest.param("POST", "/fine_tuning/jobs/ftjob-none/cancel", 404, "fine_tune_not_found", id="cancel no job"),
        pytest.param("GET", "/fine_tuning/jobs?after=ftjob-none", 404, "fine_tune_not_found", id="unknown cursor"),
        pytest.param("GET", "/fine_tuning/jobs?limit=0", 400, "integer_below_min_value", id="limit of nothing"),
        pytest.param("GET", "/fine_tuning/jobs?limit=some", 400, "invalid_type", id="limit in words"),
        pytest.param("GET", "/files/file-none", 404, None, id="unknown file"),
        pytest.param("GET", "/files?after=file-none", 404, "not_found", id="unknown file cursor"),
        pytest.param("GET", "/models/gpt-none", 404, "model_not_found", id="unknown model"),
        pytest.param("GET", "/no/such/thing", 404, "unknown_url", id="unknown URL"),
        pytest.param("DELETE", "/fine_tuning/jobs", 405, "method_not_supported", id="unknown method"),
        pytest.param("GET", "/fine-tunes", 404, "unknown_url", id="the retired endpoint"),
        pytest.param("POST", "/fine-tunes/ft-1/cancel", 404, "unknown_url", id="below the retired endpoint"),
        pytest.param("POST", "/fine_tuning/jobs", 400, None, id="no body"),
        pytest.param("POST", "/files", 400, "invalid_content_type", id="upload without a form"),
    ],
)
async def test_errors_come_in_the_envelope(
    client: Client, method: str, path: str, status: int, code: str | None
) -> None:
    got, body = await client.call(method, path)
    assert (got, body["error"]["code"], body["error"]["type"]) == (status, code, "invalid_request_error")


async def test_the_retired_endpoint_names_its_successor(client: Client) -> None:
    _, body = await client.call("GET", "/fine-tunes")
    assert "turned off on 2024-01-04" in body["error"]["message"]
    assert "/v1/fine_tuning/jobs" in body["error"]["message"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        pytest.param({"model": "gpt-4o"}, "training_file", id="no file"),
        pytest.param({"training_file": "file-1"}, "model", id="no model"),
        pytest.param({"model": "gpt-4o", "training_file": 7}, "training_file", id="a number for a file"),
        pytest.param({"model": "gpt-4o", "training_file": "file-none"}, "training_file", id="an unknown file"),
        pytest.param({"model": "gpt-5", "training_file": "file-1"}, "model", id="a model that cannot be tuned"),
        pytest.param({"model": "ft:gpt-4o:acme::x", "training_file": "file-1"}, "model", id="a tuned model of nobody"),
        pytest.param({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs", id="too many epochs"),
        pytest.param({"hyperparameters": {"n_epochs": 1.5}}, "hyperparameters.n_epochs", id="half an epoch"),
        pytest.param({"method": {"type": "magic"}}, "method.type", id="unknown method"),
        pytest.param({"method": {"type": "reinforcement"}}, "method.reinforcement.grader", id="no grader"),
        pytest.param({"method": {"type": "dpo"}, "model": "gpt-3.5-turbo"}, "method", id="a method the model lacks"),
        pytest.param({"suffix": "x" * 65}, "suffix", id="a long suffix"),
        pytest.param({"seed": "7"}, "seed", id="a seed in words"),
        pytest.param({"metadata": {"k": 1}}, "metadata.k", id="metadata of numbers"),
        pytest.param({"metadata": {"simulate": "fire"}}, "metadata.simulate", id="an unknown ending"),
        pytest.param({"metadata": {"k": "v" * 513}}, "metadata.k", id="long metadata"),
        pytest.param({"metadata": {str(key): "v" for key in range(17)}}, "metadata", id="much metadata"),
        pytest.param({"metadata": "k"}, "metadata", id="a text for metadata"),
        pytest.param({"hyperparameters": {"batch_size": "many"}}, "hyperparameters.batch_size", id="a batch in words"),
        pytest.param({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", id="no epoch"),
        pytest.param({"speed": 3}, None, id="an unknown argument"),
    ],
)
async def test_an_invalid_job_is_refused(client: Client, asked: dict[str, object], param: str | None) -> None:
    whole = asked if {"model", "training_file"} & asked.keys() else {"model": "gpt-4o", "training_file": "f", **asked}
    if asked.get("method") == {"type": "dpo"}:
        whole = {"training_file": "f", **asked}
    status, body = await client.call("POST", "/fine_tuning/jobs", whole)
    assert (status, body["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "File is empty", id="nothing"),
        pytest.param(b'{"messages": []}\nnot json\n', "Line 2 is not a dictionary", id="not JSON"),
        pytest.param(b"[1, 2]\n", "Line 1 is not a dictionary", id="not an object"),
    ],
)
async def test_an_upload_that_is_not_jsonl_is_refused(client: Client, content: bytes, words: str) -> None:
    status, body = await client.upload(content)
    assert status == 400
    assert words in body["error"]["message"]


async def test_an_unknown_purpose_is_refused(client: Client) -> None:
    status, body = await client.upload(b"{}\n", purpose="fun")
    assert (status, body["error"]["param"]) == (400, "purpose")


@pytest.mark.parametrize(
    ("anchor", "seconds"),
    [
        pytest.param("created_at", "60", id="too soon"),
        pytest.param("created_at", "soon", id="in words"),
        pytest.param("last_used", "3600", id="another anchor"),
    ],
)
async def test_an_invalid_expiry_is_refused(client: Client, anchor: str, seconds: str) -> None:
    fields = {"expires_after[anchor]": anchor, "expires_after[seconds]": seconds}
    status, body = await client.upload(b"{}\n", **fields)
    assert status == 400
    assert body["error"]["param"].startswith("expires_after.")


async def test_an_expired_file_is_gone(client: Client, clock: HandClock) -> None:
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    _, file = await client.upload(b"{}\n", **fields)
    clock.move(3599)
    assert (await client.call("GET", f"/files/{file['id']}"))[0] == 200
    clock.move(1)
    assert (await client.call("GET", f"/files/{file['id']}"))[0] == 404


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        pytest.param({"messages": []}, "model", id="no model"),
        pytest.param({"model": "gpt-4o"}, "messages", id="no messages"),
        pytest.param({"model": "gpt-4o", "messages": "hi"}, "messages", id="a text for messages"),
        pytest.param({"model": "gpt-4o", "messages": []}, "messages", id="empty messages"),
    ],
)
async def test_an_invalid_completion_is_refused(client: Client, asked: object, param: str) -> None:
    status, body = await client.call("POST", "/chat/completions", asked)
    assert (status, body["error"]["param"]) == (400, param)


async def test_a_file_of_another_purpose_cannot_be_trained_on(client: Client) -> None:
    _, file = await client.upload(b"a,b\n", purpose="user_data")
    status, body = await client.call("POST", "/fine_tuning/jobs", {"model": "gpt-4o", "training_file": file["id"]})
    assert (status, body["error"]["code"]) == (400, "invalid_file_purpose")


async def test_organisations_do_not_see_each_other(client: Client, stranger: Client, clock: HandClock) -> None:
    job = await client.create()
    clock.move(100)
    model = (await client.job(job["id"]))["fine_tuned_model"]
    assert (await stranger.call("GET", "/fine_tuning/jobs"))[1]["data"] == []
    assert (await stranger.call("GET", "/files"))[1]["data"] == []
    assert (await stranger.call("GET", f"/fine_tuning/jobs/{job['id']}"))[0] == 404
    assert (await stranger.call("GET", f"/models/{model}"))[0] == 404
    assert (await client.call("GET", f"/models/{model}"))[1]["shutdown_date"] == "2027-01-14"
    asked = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    assert (await stranger.call("POST", "/chat/completions", asked))[0] == 404
    assert (await client.call("POST", "/chat/completions", asked))[0] == 200


async def test_projects_share_jobs_but_not_files(session: aiohttp.ClientSession, clock: HandClock) -> None:
    (org,) = organisations(1, projects=2, seed=3)
    async with serve(Simulation((org,), clock=clock, pace=STEADY)) as url:
        client = Client(session, url, org)
        job = await client.create()
        headers = {"Authorization": f"Bearer {org.projects[1].key}"}
        async with session.get(f"{url}/fine_tuning/jobs", headers=headers) as response:
            assert [each["id"] for each in (await response.json())["data"]] == [job["id"]]
        async with session.get(f"{url}/files/{job['training_file']}", headers=headers) as response:
            assert response.status == 404


async def test_every_answer_carries_the_headers_of_the_api(client: Client) -> None:
    headers = {"Authorization": f"Bearer {client.org.key}"}
    async with client.session.get(f"{client.base_url}/models", headers=headers) as response:
        assert response.headers["x-request-id"].startswith("req_")
        assert response.headers["openai-organization"] == "research"
        assert int(response.headers["openai-processing-ms"]) >= 0
        assert response.headers["x-ratelimit-remaining-requests"] == "9999"


async def test_an_organisation_above_its_rate_gets_429_and_the_other_does_not(
    session: aiohttp.ClientSession, clock: HandClock
) -> None:
    orgs = organisations(2, seed=4)
    async with serve(Simulation(orgs, clock=clock, requests_per_second=0.1)) as url:
        busy, calm = (Client(session, url, org) for org in orgs)
        statuses = [(await busy.call("GET", "/fine_tuning/jobs"))[0] for _ in range(5)]
        assert statuses == [200, 429, 429, 429, 429]
        assert (await calm.call("GET", "/fine_tuning/jobs"))[0] == 200
        headers = {"Authorization": f"Bearer {orgs[0].key}"}
        async with session.get(f"{url}/models", headers=headers) as response:
            assert response.status == 429
            assert 1 <= int(response.headers["Retry-After"]) <= 10


async def test_a_model_that_does_not_chat_says_so(client: Client) -> None:
    asked = {"model": "davinci-002", "messages": [{"role": "user", "content": "hi"}]}
    status, body = await client.call("POST", "/chat/completions", asked)
    assert status == 404
    assert "not a chat model" in body["error"]["message"]


async def test_a_large_upload_is_counted_and_given_back(client: Client) -> None:
    content = training_file(examples=2000, tokens=1_000_000)
    status, file = await client.upload(content)
    assert (status, file["bytes"]) == (200, len(content))
    headers = {"Authorization": f"Bearer {client.org.key}"}
    async with client.session.get(f"{client.base_url}/files/{file['id']}/content", headers=headers) as response:
        assert await response.read() == content


async def test_a_job_is_json_that_anybody_can_read(client: Client) -> None:
    job = await client.create(suffix="My Suffix", metadata={"team": "core"}, seed=42)
    assert json.loads(json.dumps(job)) == job
    assert (job["user_provided_suffix"], job["seed"], job["metadata"]) == ("My Suffix", 42, {"team": "core"})
