"""HL7's instance validator as the oracle of the tests: the jars of the local server over lines of NDJSON.

Nothing is downloaded that the local server does not need as well. The process has bounds of memory and of time and is
ended with the call.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from fhirspace.errors import FhirspaceError
from fhirspace.localserver import jars

MEMORY = "1800m"
SOURCE = Path(__file__).with_name("Oracle.java")


class Message(NamedTuple):
    """One message of HL7's validator: severity (``error``), message id, location, text."""

    severity: str
    id: str
    location: str
    text: str

    @property
    def refuses(self) -> bool:
        """Whether the resource is not valid by it."""
        return self.severity in ("error", "fatal")


def available() -> None:
    """Skip the test, loudly, where Java or the jars are missing."""
    try:
        jars.java()
        jars.fetch(jars.read_lock(jars.packaged("lock-all.txt")))
    except FhirspaceError as error:
        pytest.skip(f"HL7's VALIDATOR DID NOT RUN: {error}")


class Input(NamedTuple):
    """Resources to judge, one JSON text each, without line feeds.

    `definitions` is a folder with StructureDefinitions, ValueSets, CodeSystems and Libraries that the
    validator knows, too.
    """

    lines: Sequence[bytes]
    release: str = "R4"
    definitions: Path | None = None


Verdict = list[Message]
"""What HL7's validator says of one resource."""


def judge(inputs: Sequence[Input], folder: Path, seconds: float = 900, home: Path | None = None) -> list[list[Verdict]]:
    """What HL7's validator says of each line of each input; one process reads them one after the other.

    Args:
        inputs: what to judge.
        folder: an empty folder to work in.
        seconds: the most time it may take.
        home: a folder with HL7's packages in ``.fhir/packages``, for what the validator looks up there.

    Raises:
        subprocess.SubprocessError: it did not end in time, or with an error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library = jars.fetch(jars.read_lock(jars.packaged("lock-all.txt")))
    path = os.pathsep.join(map(str, [_compiled(library), *library]))
    options = [f"-Xmx{MEMORY}", "-XX:+UseSerialGC", f"-Duser.home={home or folder}", "-cp", path, "Oracle"]
    arguments = jars.argument_file(folder / "java.args", options)
    command, answers = [str(jars.java()), f"@{arguments}"], []
    for number, (lines, release, definitions) in enumerate(inputs):
        given, taken = folder / f"in{number}.ndjson", folder / f"out{number}.ndjson"
        given.write_bytes(b"".join(line + b"\n" for line in lines))
        command += [release, str(given), str(taken), str(definitions or "")]
        answers.append(taken)
    with (folder / "log").open("wb") as out:
        subprocess.run(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=True, timeout=seconds)
    return [[_verdict(line) for line in taken.read_bytes().splitlines()] for taken in answers]


def _verdict(line: bytes) -> Verdict:
    rows = msgspec.json.decode(line, type=list[list[str | None]])
    return [Message(*(part or "" for part in row)) for row in rows]


def _compiled(library: list[Path]) -> Path:
    """The folder with the compiled source, made once for each text of it."""
    key = hashlib.sha256(SOURCE.read_bytes() + jars.packaged("lock-all.txt").encode()).hexdigest()[:16]
    done = jars.private_cache("oracle") / key
    if not done.is_dir():
        part = done.with_suffix(f".{os.getpid()}")
        part.mkdir()
        compiler = jars.fetch(jars.read_lock(jars.packaged("lock-compiler.txt")))[0]
        arguments = jars.argument_file(part / "javac.args", ["-cp", os.pathsep.join(map(str, library))])
        command = [jars.java(), "-jar", compiler, "-17", "-nowarn", "-d", part, f"@{arguments}", SOURCE]
        subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL)
        try:
            part.rename(done)
        except OSError:  # another process was first
            shutil.rmtree(part)
    return done
