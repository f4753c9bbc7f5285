"""The errors of OpenAI's API with their status, message, type, param and code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INVALID_REQUEST = "invalid_request_error"
_NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
}


@dataclass(eq=False)
class ApiError(Exception):
    """An error response, with the fields of OpenAI's envelope."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    type: str = INVALID_REQUEST
    headers: Mapping[str, str] = field(default_factory=dict)

    def envelope(self) -> dict[str, Any]:
        """The JSON body."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def no_key() -> ApiError:
    return ApiError(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the "
        "API from your browser and are prompted for a username and password. You can obtain an API key from "
        "https://platform.openai.com/account/api-keys.",
    )


def wrong_key(key: str) -> ApiError:
    return ApiError(
        401,
        f"Incorrect API key provided: {masked(key)}. You can find your API key at https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    )


def masked(key: str) -> str:
    """A wrong key as OpenAI repeats it, with only its ends visible; a short key is hidden completely."""
    if len(key) <= 12:
        return "*" * len(key)
    return f"{key[:8]}{'*' * (len(key) - 12)}{key[-4:]}"


def not_permitted(scope: str) -> ApiError:
    """The error for an ordinary key that requests the organisation's costs."""
    message = f"You have insufficient permissions for this operation. Missing scopes: {scope}."
    return ApiError(403, message)


def mismatched_organization() -> ApiError:
    message = "OpenAI-Organization header should match organization for API key"
    return ApiError(401, message, code="mismatched_organization")


def mismatched_project() -> ApiError:
    return ApiError(401, "OpenAI-Project header should match project for API key", code="mismatched_project")


def too_fast(org_id: str, *, rate: float, wait: float) -> ApiError:
    """429. Retry-After is in whole seconds, so it is rounded up."""
    message = (
        f"Rate limit reached for organization {org_id} on requests per second: Limit {rate:g}. Please try again in "
        f"{max(1, round(wait * 1000))}ms. Visit https://platform.openai.com/account/rate-limits to learn more."
    )
    headers = {"Retry-After": str(int(wait) + 1), "retry-after-ms": str(max(1, round(wait * 1000)))}
    return ApiError(429, message, code="rate_limit_exceeded", type="requests", headers=headers)


def unknown_url(method: str, path: str) -> ApiError:
    if path.startswith("/v1/fine-tunes"):
        return _retired(method, path)
    message = (
        f"Unknown request URL: {method} {path}. Please check the URL for typos, "
        "or see the docs at https://platform.openai.com/docs/api-reference/."
    )
    return ApiError(404, message, code="unknown_url")


def wrong_method(method: str, path: str) -> ApiError:
    message = f"Not allowed to {method} on {path} . (HINT: Perhaps you meant to use a different HTTP method?)"
    return ApiError(405, message, code="method_not_supported")


def _retired(method: str, path: str) -> ApiError:
    """The error for URLs below the former `/v1/fine-tunes`."""
    message = (
        f"Unknown request URL: {method} {path}. The /v1/fine-tunes endpoint was turned off on 2024-01-04. "
        "Please use /v1/fine_tuning/jobs instead: https://platform.openai.com/docs/guides/fine-tuning."
    )
    return ApiError(404, message, code="unknown_url")


def unreadable_body() -> ApiError:
    return ApiError(
        400,
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
        "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
    )


def json_object(content: bytes) -> dict[str, Any]:
    """The body of a request as a JSON object. Raises ApiError 400."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise unreadable_body() from None
    if not isinstance(body, dict):
        raise unreadable_body()
    return body


def no_such_job(job_id: str, param: str = "fine_tuning_job_id") -> ApiError:
    return ApiError(404, f"Could not find fine tune: {job_id}", code="fine_tune_not_found", param=param)


def no_such_batch(batch_id: str) -> ApiError:
    return ApiError(404, f"No batch found with id '{batch_id}'.", param="batch_id")


def no_such_file(file_id: str) -> ApiError:
    return ApiError(404, f"No such File object: {file_id}", param="id")


def no_such_model(model: str) -> ApiError:
    message = f"The model `{model}` does not exist or you do not have access to it."
    return ApiError(404, message, code="model_not_found", param="model")


def bad(param: str | None, message: str, code: str | None = None) -> ApiError:
    """400 for an invalid parameter."""
    return ApiError(400, message, code=code, param=param)


def bad_type(param: str, expected: str, value: object) -> ApiError:
    got = _NAMES.get(type(value), "null")
    return bad(param, f"Invalid type for '{param}': expected {expected}, but got {got} instead.", "invalid_type")


def missing(param: str) -> ApiError:
    return bad(param, f"Missing required parameter: '{param}'.", "missing_required_parameter")
