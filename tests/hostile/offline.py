"""Commands in this process, within bounds of time, whose requests are answered by a function: no network, no waits."""

from __future__ import annotations

import contextlib
import gzip
import io
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import requests
from urllib3 import HTTPResponse

from fhirspace.cli import main, parser as commands, run
from fhirspace.fhirserver import config
from fhirspace.fhirserver.auth import oauth, smart
from fhirspace.fhirserver.http import client
from fhirspace.testing.messages import JSON, Answer, Request

URL = "http://127.0.0.1:9/fhir"
"""The server's base: nobody listens there."""
LONGEST = 20.0
"""Seconds of CPU that a command may take for a few kilobytes."""
_HUNG = 120
_MOST_REQUESTS = 400

Respond = Callable[[Request], Answer]


parser = cache(commands.parser)


class HungError(BaseException):
    """A command does not come to its end."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended: exit code, seconds of CPU, what it said."""

    code: int
    seconds: float
    said: str

    @property
    def fault(self) -> str:
        """What is wrong with it, whatever it was given; "" for nothing."""
        if self.code not in (0, 1, 2, 3, 4):
            return f"exit {self.code}\n{self.said[-3_000:]}"
        return f"{self.seconds:.1f} s of CPU" if self.seconds > LONGEST else ""


def ran(*arguments: str | Path) -> Ran:
    """Run a command line in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    begin = time.process_time()
    with _bounded(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(each) for each in arguments])
        except HungError:
            code = -1
    for stream in (out, err):
        stream.flush()
    said = b"".join(stream.buffer.getvalue() for stream in (out, err))
    return Ran(code, time.process_time() - begin, said.decode())


@contextmanager
def _bounded() -> Iterator[None]:
    def hung(number: int, frame: FrameType | None) -> None:
        raise HungError

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(_HUNG)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def answered_by(respond: Respond) -> Iterator[None]:
    """Have every request of fhirspace's answered by a function; after 400 of them the server is gone."""
    count = 0

    def send(self: requests.Session, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        nonlocal count
        count += 1
        url = request.url or ""
        if count > _MOST_REQUESTS or not url.startswith("http://127.0.0.1:9/"):
            raise requests.ConnectionError
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        answer = respond(Request(request.method or "", url.removeprefix("http://127.0.0.1:9"), headers, plain))
        if answer.wire:
            raise requests.ConnectionError
        return _received(answer)

    connect = config.connect

    def impatient(*arguments: Any, **options: Any) -> config.Connection:
        there = connect(*arguments, **options)
        there.client.sleep = lambda seconds: None
        return there

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.Session, "send", send)
        patch.setattr(config, "connect", impatient)
        patch.setattr(run, "parser", parser)  # making it takes a third of the time of a small command
        for module in (client, oauth, smart):
            patch.setattr(module, "pause", lambda *_: 0.0)
        yield


def _received(answer: Answer) -> requests.Response:
    received = requests.Response()
    received.status_code = answer.status
    received.headers.update({**({"Content-Type": JSON} if answer.body else {}), **answer.headers})
    received.raw = HTTPResponse(
        io.BytesIO(answer.body), headers=dict(received.headers), status=answer.status, preload_content=False
    )
    return received
