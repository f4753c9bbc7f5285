#!/bin/sh
# standardwebhooks 1.1.0: verify() raises ValueError, not its WebhookVerificationError, when an entry before the valid
# one is malformed.
#
# The signature header is a list, so that keys and versions can change. An entry of an unknown version is skipped as it
# should be, but one without a comma ends the walk with a ValueError: the valid signature behind it is not looked at,
# and a receiver that catches only the documented class answers 500 instead of 400. Before the malformed entry, the
# valid one is found. A receiver catches ValueError as well; a sender writes one blank between entries and none around
# them.
#
# Seen (Python 3.11):
#   valid: verified; unknown version, valid: verified; valid, malformed: verified
#   malformed, valid: ValueError not enough values to unpack (expected 2, got 1)
#   a blank before the valid one: ValueError not enough values to unpack (expected 2, got 1)
#   wrong: WebhookVerificationError No matching signature found
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check standardwebhooks==1.1.0
"$dir/venv/bin/python" - <<'EOF'
import base64
from datetime import datetime, timezone

from standardwebhooks import Webhook

webhook = Webhook("whsec_" + base64.b64encode(b"example key, 24 bytes ok").decode())
now, body = datetime.now(timezone.utc), '{"type": "job.succeeded"}'
valid = webhook.sign("msg_1", now, body)
HEADERS = {
    "valid": valid,
    "unknown version, valid": f"v9,AAAA {valid}",
    "valid, malformed": f"{valid} v1",
    "malformed, valid": f"v1 {valid}",
    "blank, valid": f" {valid}",
    "wrong": "v1,AAAA",
}


def attempt(signature):
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    try:
        webhook.verify(body, headers)
    except Exception as error:
        print(type(error).__name__, error)
        return type(error).__name__
    return "verified"


seen = {name: attempt(signature) for name, signature in HEADERS.items()}
for name, result in seen.items():
    print(f"{name}: {result}")
assert list(seen.values()) == ["verified"] * 3 + ["ValueError"] * 2 + ["WebhookVerificationError"]
EOF
