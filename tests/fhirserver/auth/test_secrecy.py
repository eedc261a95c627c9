"""While a push runs in a process of its own, no secret stands where others can read it, nor in what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from fhirspace.cli import main
from tests.fhirserver.auth.authority import AuthorityServer
from tests.fhirserver.auth.certificates import Authority
from tests.support.resources import trial

Settings = Callable[..., Path]
PROC = Path("/proc")


def secrets_of(authority: AuthorityServer, key: Path) -> list[bytes]:
    """All secrets there are by now, each with a part of it that would betray it."""
    body = "".join(key.read_text().splitlines()[1:-1])
    jwk = json.loads(key.with_suffix(".jwk").read_text())
    parts = [body[:40], body[-40:], jwk["d"], "SIGNIN-CANARY"]
    parts += [assertion.split(".")[2] for assertion, _, _ in authority.assertions]
    assert all(len(part) > 10 for part in parts)
    return [part.encode() for part in parts]


@pytest.mark.slow
@pytest.mark.skipif(not PROC.is_dir(), reason="needs /proc")
def test_no_secret_is_left_or_shown(
    authority: AuthorityServer, certificates: Authority, keys: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    key = keys["RS384"]
    shown: list[bytes] = []
    folder = trial(tmp_path / "study")

    def look() -> None:
        """Called while the child waits for its answer."""
        for pid in [child.pid, *(each.pid for each in psutil.Process(child.pid).children(recursive=True))]:
            home = PROC / str(pid)
            shown.append((home / "cmdline").read_bytes() + b"\n" + (home / "environ").read_bytes())

    (tmp_path / "word").write_text("SIGNIN-CANARY-key")
    settings(
        url=authority.url + "/fhir",
        sign_in="smart",
        client_id="trial",
        kid="kid-RS384",
        private_key_file=str(key),
        ca=str(certificates.file),
        cert=str(certificates.issue("client", password=b"SIGNIN-CANARY-key")),
        key_password_file="word",
    )
    authority.before_answer = look
    authority.fhir.refuse = lambda resource: resource["id"] == "ob-p-1-1"
    options = ["--server", "main", "--size", "3"]
    command = [sys.executable, "-W", "error", "-m", "fhirspace.cli", "push", str(folder), *options]
    environment = {**os.environ, "FHIRSPACE_CONFIG": str(tmp_path / "servers.toml")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
        said = b"".join(child.communicate(timeout=60))
    assert child.returncode == 3, said
    assert len(shown) >= 6
    hidden = secrets_of(authority, key)
    left = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    assert {b"push", b"main"} <= set(shown[0].split(b"\0"))
    assert b"FS520" in said
    assert (folder / "journal.db").exists()
    for secret in hidden:
        assert not any(secret in text for text in [said, *shown, *left])


@pytest.mark.parametrize("fault", ["refused by the authority", "refused by the server", "not trusted"])
def test_no_secret_is_in_an_error(
    fault: str,
    *,
    authority: AuthorityServer,
    certificates: Authority,
    keys: dict[str, Path],
    settings: Settings,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key = keys["ES384"]
    other = Authority(certificates.folder, "other")
    ca = other.file if fault == "not trusted" else certificates.file
    kid = "unknown" if fault == "refused by the authority" else "kid-ES384"
    authority.forgetful = fault == "refused by the server"
    fields = {"sign_in": "smart", "client_id": "trial", "kid": kid, "private_key_file": str(key), "ca": str(ca)}
    file = settings(url=authority.url + "/fhir", **fields)
    command = ["pull", "--study", "S", "--out", str(file.parent / "out"), "--server", "main", "--config", str(file)]
    exit_code = main(command)
    out, err = (said.encode() for said in capfd.readouterr())
    code = {"refused by the authority": b"FS548", "refused by the server": b"FS511", "not trusted": b"FS546"}[fault]
    assert exit_code == 4
    assert code in err
    assert not any(secret in out + err for secret in secrets_of(authority, key))
