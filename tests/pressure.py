"""What a service is put under while a test does something to it: running streams, requests without end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from conftest import Site
from upstream import Exchange, chunk, completion

BODY = {"model": "urn:cadenza:flow=chat", "messages": [{"role": "user", "content": "Hi"}]}


class Held:
    """A provider that answers at once, but ends its streams only when the test lets them go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        if not exchange.body.get("stream"):
            return exchange.answer(completion())
        exchange.begin()
        exchange.event(chunk("one ", role="assistant"))
        self.go.wait(30)
        exchange.event(chunk("two", finish="stop"))
        return exchange.end()


class Stream:
    """A stream that has begun."""

    def __init__(self, site: Site, url: str = "") -> None:
        headers = {"Authorization": f"Bearer {site.key}"}
        url = f"{url or site.url}/v1/chat/completions"
        self.response = requests.post(url, json={**BODY, "stream": True}, headers=headers, stream=True, timeout=30)
        self._lines: Iterator[bytes] = self.response.iter_lines()
        self.text = next(self._lines).decode()

    def read(self) -> str:
        """All of it, to its end."""
        self.text += b"\n".join(self._lines).decode()
        return self.text

    @property
    def complete(self) -> bool:
        return '"content":"two"' in self.text and self.text.rstrip().endswith("data: [DONE]")


class Load:
    """Requests without end, half of them on connections that are kept."""

    def __init__(self, site: Site, threads: int) -> None:
        self.count = 0
        self.failures: list[str] = []
        self._site = site
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def _run(self, number: int) -> None:
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {self._site.key}"
        while not self._stop.is_set():
            close = {} if number % 2 else {"Connection": "close"}
            try:
                url = f"{self._site.url}/v1/chat/completions"
                answer = session.post(url, json=BODY, headers=close, timeout=30)
                if answer.status_code != 200:
                    self.failures.append(answer.text)
            except requests.RequestException as error:
                self.failures.append(repr(error))
            self.count += 1

    def wait_for(self, count: int) -> None:
        """Waits until that many requests more have been answered."""
        until = self.count + count
        wait_until(lambda: self.count >= until, 60)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


@contextmanager
def load(site: Site, threads: int = 4) -> Iterator[Load]:
    """Load on the site while the block runs."""
    with Load(site, threads).running() as running:
        running.wait_for(threads)
        yield running


def wait_until(ready: Callable[[], object], seconds: float = 10.0) -> float:
    """Waits for `ready()`; how long it took."""
    started = time.monotonic()
    while not ready():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - started


def children(pid: int) -> list[int]:
    """The processes that it has started and that still run."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def workers(site: Site) -> list[int]:
    """The worker processes of a running site."""
    assert site.process is not None
    return [pid for pid in children(site.process.pid) if b"gunicorn" in Path(f"/proc/{pid}/cmdline").read_bytes()]
