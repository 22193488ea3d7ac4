"""A brain: asked for the next steps of a run, with the run so far."""
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

TOOLS = "http://127.0.0.1:9000/"


def answer(run):
    if run["turn"] == 1:
        step = {"name": "lookup", "tool": TOOLS + "lookup", "effect": "pure", "input": run["input"]}
        return {"steps": [step], "state": {"asked": "lookup"}}
    if run["turn"] == 2:
        step = {"name": "ledger2", "tool": TOOLS + "policy", "effect": "idempotent", "input": {"cents": 4200}}
        return {"steps": [step]}
    return {"done": True, "output": {"steps": [step["step"] for step in run["steps"]]}}


class Brain(BaseHTTPRequestHandler):
    def do_POST(self):
        run = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(answer(run)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("127.0.0.1", 9100), Brain).serve_forever()
