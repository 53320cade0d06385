"""How gunicorn serves Cadenza. `cadenza run` uses this file; so does `gunicorn -c config/gunicorn.conf.py wsgi:app`."""

import multiprocessing
import os

from app import server

bind = "127.0.0.1:8000"
workers = int(os.environ.get("WEB_CONCURRENCY", multiprocessing.cpu_count()))
worker_class = "gthread"
# Threads are made when they are needed: an idle worker has none of them. Each holds one request or stream.
threads = 1024
worker_connections = 2048
backlog = 2048

# Streams in flight are finished on TERM and HUP: longer than the longest (connectors' timeout.total).
graceful_timeout = 630
timeout = 60
# Above nginx's keep-alive to its upstreams, so that nginx never writes to a connection that is being closed.
keepalive = 75
# As much as nginx lets through, so that too long is told by nginx, in OpenAI's words.
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190

# A control socket is one more thing to protect, and the access log writes query strings and unknown paths.
control_socket_disable = True
accesslog = None
logconfig_dict = server.LOGGING
proc_name = "cadenza"

on_starting = server.on_starting
when_ready = server.when_ready
post_fork = server.post_fork
post_worker_init = server.post_worker_init
worker_int = server.worker_int
