#!/bin/sh
# openai 3.57.0: iterating over a list ends without a word at an empty page, even one that says has_more.
#
# The next cursor is the id of the last item of a page, so a page without items has none. Iteration then ends as if the
# list were complete, and has_next_page() is False, though `has_more` of the page is true. A page that does not say
# has_more is taken to have more. Behind a server that filters after it pages, the rest of the list is lost: a client
# that needs all of it looks at has_more of the last page itself.
#
# Seen (Python 3.11, pydantic 2.14.4):
#   empty second page with has_more true: jobs ['ftjob-1'], requests after [None, 'ftjob-1'], has_more True,
#     has_next_page() False
#   pages without has_more: jobs ['ftjob-1', 'ftjob-2'], requests after [None, 'ftjob-1', 'ftjob-2']
set -eu
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check openai==3.57.0 pydantic==2.14.4
"$dir/venv/bin/python" - <<'EOF'
import http.server
import json
import threading
import urllib.parse

from openai import OpenAI

pages, cursors = {}, []


class Jobs(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        cursors.append(query.get("after", [None])[0])
        body = json.dumps({"object": "list", **pages[cursors[-1]]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Jobs)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = OpenAI(api_key="example", base_url=f"http://127.0.0.1:{server.server_port}")


def job(number):
    return {"id": f"ftjob-{number}", "object": "fine_tuning.job", "status": "running"}


def walk(answers):
    """The jobs iterated over, the cursors asked for, and what the last page says of a next one."""
    pages.clear(), cursors.clear()
    pages.update(answers)
    found = list(client.fine_tuning.jobs.list().iter_pages())
    last = found[-1]
    return [one.id for page in found for one in page.data], list(cursors), last.has_more, last.has_next_page()


empty = walk({None: {"data": [job(1)], "has_more": True}, "ftjob-1": {"data": [], "has_more": True}})
silent = walk({None: {"data": [job(1)]}, "ftjob-1": {"data": [job(2)]}, "ftjob-2": {"data": []}})
print("empty page with has_more: jobs %s, requests after %s, has_more %s, has_next_page() %s" % empty)
print("pages without has_more: jobs %s, requests after %s, has_more %s, has_next_page() %s" % silent)
assert empty == (["ftjob-1"], [None, "ftjob-1"], True, False)
assert silent == (["ftjob-1", "ftjob-2"], [None, "ftjob-1", "ftjob-2"], None, False)
EOF
