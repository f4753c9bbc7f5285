#!/bin/sh
# together 3.1.1: the same event, read by its two routes, is two unequal objects with different attributes.
#
# `fine_tuning.retrieve(id).events` and `fine_tuning.list_events(id).data` both hold FinetuneEvent objects. Given the
# same JSON, they compare unequal: only the one of list_events has the attribute `model_path`; on the other it is an
# AttributeError. `to_dict()` of both is the same, so it is what to compare or read when events of both routes are
# brought together.
#
# Seen (Python 3.11, pydantic 2.14.4):
#   same class: True, objects equal: False, to_dict() equal: True
#   attribute model_path: retrieve False, list_events True
#   without model_path in the JSON, objects equal: True
set -eu
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check together==3.1.1 pydantic==2.14.4
"$dir/venv/bin/python" - <<'EOF'
import http.server
import json
import threading

from together import Together

AT = "2026-01-05T10:00:00Z"
EVENT = {
    "object": "fine-tune-event", "created_at": AT, "hash": "", "message": "Job started", "type": "job_start", "level": "info",
    "checkpoint_path": "", "model_path": "", "param_count": 0, "step": 0, "token_count": 0, "total_steps": 0,
    "training_offset": 0, "wandb_url": "",
}
JOB = {"id": "ft-1", "status": "running", "created_at": AT, "updated_at": AT, "model": "example"}
events = []


class Jobs(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = {"data": events} if self.path.endswith("/events") else {**JOB, "events": events}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Jobs)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Together(api_key="example", base_url=f"http://127.0.0.1:{server.server_port}")


def both(event):
    events[:] = [event]
    return client.fine_tuning.retrieve("ft-1").events[0], client.fine_tuning.list_events("ft-1").data[0]


one, two = both(EVENT)
objects = type(one) is type(two), one == two, one.to_dict() == two.to_dict()
print("same class: %s, objects equal: %s, to_dict() equal: %s" % objects)
attributes = hasattr(one, "model_path"), hasattr(two, "model_path")
print("attribute model_path: retrieve %s, list_events %s" % attributes)
one, two = both({key: value for key, value in EVENT.items() if key != "model_path"})
print("without model_path in the JSON, objects equal:", one == two)
assert (objects, attributes, one == two) == ((True, False, True), (False, True), True)
EOF
