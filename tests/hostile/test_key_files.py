"""Files of id keys that are open to others, odd, or no keys; the first use by many at once; homes that cannot be written.

Each refusal is a usage error by name: nothing is written, nothing is waited for, and nothing of the file is shown.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fhirspace.cli import main
from fhirspace.errors import UsageError
from fhirspace.idkey import DEMO_KEY, IdKey, chosen, site_key, unmade
from fhirspace.keyfile import make_once
from tests import small_study

GOOD = b"5f0c3a9d17b24e6880f1c2d3b4a59687"
LEFT = pytest.mark.skipif(sys.platform == "win32", reason="modes and links are those of POSIX")


@pytest.fixture(autouse=True)
def _no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FHIRSPACE_ID_KEY_FILE")
    monkeypatch.setenv("FHIRSPACE_DATA", str(tmp_path / "data"))


def holds(content: bytes, mode: int = 0o600) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content)
        path.chmod(mode)

    return make


def link(where: str, content: bytes | None = GOOD) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        target = path.parent / where
        if content is not None:
            target.parent.mkdir(exist_ok=True)
            holds(content)(target)
        path.symlink_to(target)

    return make


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)
    path.chmod(0o600)


def bound(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def circle(path: Path) -> None:
    path.symlink_to(path.parent / "other")
    (path.parent / "other").symlink_to(path)


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "FS630"),
    "folder": (Path.mkdir, "FS630"),
    "pipe": (os.mkfifo, "FS630"),
    "socket": (bound, "FS630"),
    "a terabyte": (huge, "FS630"),
    "more than a key": (holds(GOOD * 200), "FS630"),
    "link to nowhere": (link("gone", None), "FS630"),
    "links in a circle": (circle, "FS630"),
    "link to a device": (lambda path: path.symlink_to("/dev/zero"), "FS631"),
    "link to elsewhere": (link("../elsewhere.key"), "FS631"),
    "empty": (holds(b""), "FS632"),
    "blanks": (holds(b" \n" * 40), "FS632"),
    "15 bytes": (holds(GOOD[:15]), "FS632"),
    "15 bytes and blanks": (holds(GOOD[:15] + b"\r\n\r\n"), "FS632"),
    "zeros": (holds(bytes(32)), "FS632"),
    "the same again": (holds(b"secret" * 8), "FS632"),
    "the published key": (holds(b"fhirspace"), "FS632"),
    "readable by all": (holds(GOOD, 0o644), "FS631"),
    "readable by the group": (holds(GOOD, 0o640), "FS631"),
    "writable by the group": (holds(GOOD, 0o620), "FS631"),
    "writable by all": (holds(GOOD, 0o602), "FS631"),
}


@LEFT
@pytest.mark.parametrize("named", ["option", "environment", "site"])
@pytest.mark.parametrize(("make", "code"), ODD.values(), ids=ODD)
def test_a_key_file_that_is_not_to_be_trusted_is_refused_by_name(
    *,
    make: Callable[[Path], object],
    code: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "data"
    home.mkdir(mode=0o700)
    if named == "site" and code == "FS630" and make is ODD["missing"][0]:
        pytest.skip("the site's key is made where it is missing")
    path = home / "id.key"
    make(path)
    if named == "environment":
        monkeypatch.setenv("FHIRSPACE_ID_KEY_FILE", str(path))
    given = ["--id-key", str(path)] if named == "option" else []
    source, out = small_study.write(tmp_path / "in"), tmp_path / "out"
    assert main(["convert", str(source), "--to", "fhir", "--out", str(out), *given]) == 2
    said = "".join(capfd.readouterr())
    assert f"{code} {path}" in said
    assert GOOD[:8].decode() not in said
    assert not out.exists()


@LEFT
def test_a_file_of_somebody_else_is_refused_and_one_of_root_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(GOOD)(tmp_path / "key")
    owner = (tmp_path / "key").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner:
        with pytest.raises(UsageError, match="FS631"):
            chosen(tmp_path / "key")
        return
    assert chosen(tmp_path / "key") == IdKey(GOOD)
    os.chown(tmp_path / "key", 12345, -1)
    with pytest.raises(UsageError, match="FS631"):
        chosen(tmp_path / "key")


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, ""])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="FS630"):
        chosen(name)


@LEFT
def test_what_a_user_may_do_with_a_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(b"\xef\n" + GOOD + b" \r\n", 0o400)(tmp_path / "key")
    assert chosen(tmp_path / "key") == IdKey(b"\xef\n" + GOOD)
    link("shelf/key.2")(tmp_path / "link")  # as secrets are mounted into a container
    assert chosen(str(tmp_path / "link")) == IdKey(GOOD)
    monkeypatch.chdir(tmp_path)
    holds(GOOD)(tmp_path / "demo")
    assert (chosen("demo"), chosen("./demo")) == (DEMO_KEY, IdKey(GOOD))
    assert IdKey(GOOD * 3).digits("x") != IdKey(GOOD * 4).digits("x")


# -- the first use

_FIRST = "from fhirspace.idkey import site_key; print(site_key().fingerprint)"


@pytest.mark.slow
def test_eight_processes_at_the_first_use_have_one_key(tmp_path: Path) -> None:
    started = [subprocess.Popen([sys.executable, "-c", _FIRST], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    told = {each.communicate(timeout=60)[0] for each in started}
    assert told == {site_key().fingerprint + "\n"}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["id.key"]
    assert len(bytes.fromhex((tmp_path / "data" / "id.key").read_text())) == 32
    if sys.platform != "win32":
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "data" / "id.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_whoever_comes_first_makes_the_file_and_nobody_sees_half_of_it(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refused)

    def one(path: Path, letter: int) -> bytes:
        make_once(path, bytes([letter]) * 64)
        return path.read_bytes()

    for turn in range(20):
        path = tmp_path / f"{turn}"
        with ThreadPoolExecutor(8) as pool:
            told = set(pool.map(lambda letter, path=path: one(path, letter), range(8)))
        assert len(told) == 1
        assert len(told.pop()) == 64
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


# -- where no key can be made


def below_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FHIRSPACE_DATA", str(tmp_path / "file" / "data"))


def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", write)


def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSPACE_DATA", "/proc/self/data")


def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("FHIRSPACE_DATA", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", home)


def open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)


HOMES = {
    "a file in its place": (below_a_file, "FS633"),
    "no space": (full, "FS633"),
    "read only": (read_only, "FS633"),
    "no home": (homeless, "FS633"),
    "a folder that others can write to": (open_to_others, "FS631"),
}


@LEFT
@pytest.mark.parametrize(("spoil", "code"), HOMES.values(), ids=HOMES)
def test_where_no_key_can_be_made_it_is_said_and_what_needs_none_goes_on(
    spoil: Callable[[Path, pytest.MonkeyPatch], None],
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    source, out = small_study.write(tmp_path / "in"), tmp_path / "out"
    with monkeypatch.context() as patch:
        spoil(tmp_path, patch)
        assert main(["convert", str(source), "--to", "fhir", "--out", str(out)]) == 2
        assert code in capfd.readouterr().err
        assert not out.exists()
        assert unmade() is None or not unmade().exists()  # type: ignore[union-attr]
        if spoil is homeless:
            assert main(["mapping", "show", "AE"]) == 0
            assert main(["roundtrip", str(source)]) == 0
    assert not list(tmp_path.rglob(".id.key*"))
