#!/bin/sh
# Alertmanager 0.25.0 (Debian 12, prometheus-alertmanager): an alert posted again with a nearer end keeps the later one.
#
# `endsAt` of a firing alert looks like a lease that each post renews. It is merged instead: the latest end posted so
# far wins, so an alert once posted to end in five hours cannot be given a shorter lease, neither by a nearer `endsAt`
# nor by none at all (resolve_timeout). Only an end that has passed counts against it: such a post resolves the alert at
# once. A client that posts long ends must therefore post the resolution too, it cannot rely on the alert running out
# soon after its last post.
#
# Seen:
#   ends in 5 h: active, ends in 5 h
#   then in 2 s, after 4 s: active, ends in 5 h
#   then without endsAt (resolve_timeout: 2s), after 4 s: active, ends in 5 h
#   then one second ago: resolved
#   another alert that only ever ended in 2 s, after 4 s: resolved
set -eu
dir=$(mktemp -d)
trap 'kill "${pid:-}" 2>/dev/null || true; rm -rf "$dir"' EXIT
(cd "$dir" && apt-get download -q prometheus-alertmanager=0.25.0-1+b4 >/dev/null && dpkg-deb -x prometheus-alertmanager_*.deb .)
cat >"$dir/config.yml" <<'EOF'
global: {resolve_timeout: 2s}
route: {receiver: nobody}
receivers: [{name: nobody}]
EOF
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$dir/usr/bin/prometheus-alertmanager" --config.file="$dir/config.yml" --storage.path="$dir/state" --cluster.listen-address= \
  --web.listen-address="127.0.0.1:$port" 2>"$dir/log" &
pid=$!
PORT=$port python3 - <<'EOF'
import json
import os
import time
import urllib.request
from datetime import datetime, timedelta, timezone

ADDRESS = f"http://127.0.0.1:{os.environ['PORT']}"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
start = datetime.now(timezone.utc) - timedelta(minutes=1)


def ready():
    try:
        return opener.open(ADDRESS + "/-/ready").status == 200
    except OSError:
        return False


def post(name, ends_in, wait=0.0):
    """The hours an alert still has after a post with this end (none for None) and a wait, or "resolved"."""
    now = datetime.now(timezone.utc)
    end = {} if ends_in is None else {"endsAt": (now + ends_in).isoformat()}
    body = json.dumps([{"labels": {"alertname": name}, "startsAt": start.isoformat(), **end}]).encode()
    opener.open(urllib.request.Request(ADDRESS + "/api/v2/alerts", body, {"Content-Type": "application/json"})).close()
    time.sleep(wait + 0.5)
    for alert in json.load(opener.open(ADDRESS + "/api/v2/alerts")):
        if alert["labels"]["alertname"] == name:
            return round((datetime.fromisoformat(alert["endsAt"].replace("Z", "+00:00")) - now) / timedelta(hours=1))
    return "resolved"


deadline = time.monotonic() + 30
while not ready() and time.monotonic() < deadline:
    time.sleep(0.2)
seen = [post("Stalled", timedelta(hours=5)), post("Stalled", timedelta(seconds=2), 4), post("Stalled", None, 4)]
seen += [post("Stalled", timedelta(seconds=-1)), post("Other", timedelta(seconds=2), 4)]
print("posted to end in 5 h; in 2 s; without an end; a second ago; another alert, in 2 s only:")
print("hours left:", seen)
assert seen == [5, 5, 5, "resolved", "resolved"]
EOF
