"""Tools for the tour in README.md. Each call is printed with the start of its idempotency key.

/lookup and /email answer at once. /refund fails twice, then works. /ledger fails until the file
`ledger-is-up` is there. /wire answers after 20 seconds. Runs until it is stopped.
"""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

calls = {}


class Tools(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        tool = self.path.strip("/")
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        calls[tool] = calls.get(tool, 0) + 1
        down = tool == "refund" and calls[tool] <= 2
        down = down or (tool == "ledger" and not os.path.exists("ledger-is-up"))
        status = 503 if down else 200
        key = self.headers["Idempotency-Key"][:8]
        print(f"{tool:<7} call {calls[tool]}  key {key}  {status}  {json.dumps(body)}", flush=True)
        if tool == "wire":
            time.sleep(20)
        answer = {} if down else {"customer": "c9"}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("127.0.0.1", 9000), Tools).serve_forever()
