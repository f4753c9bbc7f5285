"""The status table that every HTTP channel stands on."""

import pytest

from monitor.notifiers.base import FailureKind, HttpAnswer, SendError, judge_status
from tests.notifiers.receivers import AT


@pytest.mark.parametrize(
    ("status", "headers", "failure", "wait"),
    [
        pytest.param(200, {}, None, None, id="200 is success"),
        pytest.param(204, {}, None, None, id="204 is success"),
        pytest.param(410, {}, FailureKind.TARGET, None, id="410 suspends"),
        pytest.param(401, {}, FailureKind.TARGET, None, id="401 suspends"),
        pytest.param(403, {}, FailureKind.TARGET, None, id="403 suspends"),
        pytest.param(404, {}, FailureKind.TARGET, None, id="404 suspends"),
        pytest.param(429, {"retry-after": "7"}, FailureKind.RATE, 7.0, id="429 waits as long as it says"),
        pytest.param(429, {}, FailureKind.RATE, None, id="429 without a time"),
        pytest.param(429, {"retry-after": "99999999999"}, FailureKind.RATE, 3600.0, id="429 for an hour at most"),
        pytest.param(429, {"retry-after": "soon"}, FailureKind.RATE, None, id="429 with nonsense"),
        pytest.param(
            429, {"retry-after": "Sun, 22 Nov 2026 10:16:02 GMT"}, FailureKind.RATE, 60.0, id="429 until a date"
        ),
        pytest.param(503, {"retry-after": "9"}, FailureKind.RATE, 9.0, id="503 that says when"),
        pytest.param(503, {}, FailureKind.TRANSIENT, None, id="503 that does not"),
        pytest.param(500, {}, FailureKind.TRANSIENT, None, id="500"),
        pytest.param(502, {}, FailureKind.TRANSIENT, None, id="502"),
        pytest.param(504, {}, FailureKind.TRANSIENT, None, id="504"),
        pytest.param(408, {}, FailureKind.TRANSIENT, None, id="408"),
        pytest.param(404, {"content-type": "text/html"}, FailureKind.TRANSIENT, None, id="404 with a page passes"),
        pytest.param(413, {}, FailureKind.MESSAGE, None, id="413 refuses the message"),
        pytest.param(301, {"location": "https://x"}, FailureKind.TRANSIENT, None, id="a redirect is a failure"),
        *(
            pytest.param(status, {}, FailureKind.TRANSIENT, None, id=f"{status} is no verdict on the message")
            for status in (400, 402, 405, 406, 407, 409, 411, 412, 415, 418, 421, 422, 423, 425, 428, 431, 451, 499)
        ),
    ],
)
def test_what_a_status_means(
    status: int, headers: dict[str, str], failure: FailureKind | None, wait: float | None
) -> None:
    verdict = judge_status(HttpAnswer(status=status, headers=headers, body=b""), AT)
    error = verdict if isinstance(verdict, SendError) else None
    assert (error.kind if error else None, error.retry_after if error else None) == (failure, wait)
