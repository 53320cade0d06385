"""The bare stack: the least that anyone writes with gunicorn, Flask and requests. Bytes are passed through.

`BENCH_UPSTREAM` names the URL of the provider.
"""

import os

import requests
from flask import Flask, Response, request
from requests.adapters import HTTPAdapter

app = Flask(__name__)
session = requests.Session()
# As many kept connections as there may be threads: the default of 10 would have most calls connect anew.
session.mount("http://", HTTPAdapter(pool_maxsize=1024))
url = os.environ["BENCH_UPSTREAM"] + "/chat/completions"


@app.post("/v1/chat/completions")
def relay() -> Response:
    """Passes the request on, and the answer back as it comes."""
    headers = {"Content-Type": "application/json", "Authorization": "Bearer fake"}
    answer = session.post(url, data=request.get_data(), headers=headers, stream=True)
    kind = answer.headers["Content-Type"]
    if kind == "text/event-stream":
        return Response(answer.iter_content(None), answer.status_code, content_type=kind)
    return Response(answer.content, answer.status_code, content_type=kind)


@app.get("/readyz")
def ready() -> str:
    """Says that requests are answered."""
    return "ready"
