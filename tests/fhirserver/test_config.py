"""The file of servers: where it is found, what it may say, and where a fault in it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fhirspace.errors import UsageError
from fhirspace.fhirserver.config import connect, found_file

URL = 'url = "https://fhir.test/fhir"'
SMART = f'{URL}\nsign_in = "smart"\nclient_id = "me"\nprivate_key_file = "k"'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, which is the working folder too."""
    for name in ("FHIRSPACE_CONFIG", "XDG_CONFIG_HOME", "APPDATA", "FHIRSPACE_TOKEN", "FHIRSPACE_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_the_file_is_found_in_four_places(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def servers(path: Path, host: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'[servers.main]\nurl = "https://{host}/fhir"\n')
        return path

    with pytest.raises(UsageError, match=r"FS543.*https://host/fhir"):
        connect("main")
    servers(home / ".config" / "fhirspace" / "fhirspace.toml", "own")
    assert connect("main").client.server == "https://own/fhir"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    assert found_file() is None
    servers(home / "xdg" / "fhirspace" / "fhirspace.toml", "xdg")
    assert connect("main").client.server == "https://xdg/fhir"
    servers(home / "work" / "fhirspace.toml", "work")
    assert connect("main").client.server == "https://work/fhir"
    monkeypatch.setenv("FHIRSPACE_CONFIG", str(servers(home / "named.toml", "named")))
    assert connect("main").client.server == "https://named/fhir"
    assert connect("main", servers(home / "told.toml", "told")).client.server == "https://told/fhir"
    assert connect("https://plain/fhir/").client.server == "https://plain/fhir"
    with pytest.raises(UsageError, match="FS543"):
        connect("https://plain/fhir/", home / "told.toml")


@pytest.mark.parametrize("fault", ["written by all", "of another"])
def test_a_file_in_the_working_folder_that_others_made_is_not_used(
    fault: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path("fhirspace.toml")
    file.write_text(f"[servers.main]\n{URL}\n")
    if fault == "written by all":
        file.chmod(0o666)
    else:
        monkeypatch.setattr(os, "getuid", lambda: file.stat().st_uid + 1)
        monkeypatch.setattr(Path, "is_file", lambda self: True)
        if file.stat().st_uid == 0:
            os.chown(file, 12345, -1)
    with pytest.raises(UsageError, match="FS540"):
        connect("main")
    assert connect("main", file).client.server == "https://fhir.test/fhir"


@pytest.mark.parametrize(
    ("text", "code", "line", "key"),
    [
        ("[servers.main", "FS540", 1, None),
        ('[servers.main]\npassword = "SIGNIN-CANARY', "FS540", 2, None),
        ("[servers.other]", "FS543", None, None),
        ("servers = 5", "FS541", 1, "servers"),
        ("[servers]\nmain = 5", "FS541", None, "main"),
        ("rate = 5\n[servers.main]", "FS541", 1, "rate"),
        ("# a\n[servers.main] # here\nrate = 5", "FS541", 2, None),
        (f'[servers.other]\ncolour = 1\n[servers."main"]\n{URL}\n"colour" = 1', "FS541", 5, "colour"),
        (f'[servers.main]\n{URL}\nsign_in = "SIGNIN-CANARY"', "FS541", 3, "sign_in"),
        (f"[servers.main]\n{URL}\nuser = 'me'", "FS541", 3, "user"),
        (f"[servers.main]\n{URL}\ntoken_env = 'X'", "FS541", 3, "token"),
        (f"[servers.main]\n{URL}\nsign_in = 'basic'\nuser = 'me'", "FS541", 1, None),
        (f"[servers.main]\n{URL}\nsign_in = 'basic'\nuser = 'SIGNIN:CANARY'\npassword_env = 'X'", "FS541", 4, "user"),
        (f"[servers.main]\n{URL}\nfhir = 'R3'", "FS541", 3, "fhir"),
        (f"[servers.main]\n{URL}\nsize = 0", "FS541", 3, "size"),
        (f"[servers.main]\n{URL}\nconnections = 'SIGNIN-CANARY'", "FS541", 3, "connections"),
        (f"[servers.main]\n{URL}\nrate = 0", "FS541", 3, "rate"),
        (f"[servers.main]\n{URL}\nca = ''", "FS541", 3, "ca"),
        ("[servers.main]\nurl = 5", "FS541", 2, "url"),
        (f"[servers.main]\n{SMART}\nscope = 'system/*.cruds'", "FS541", 6, "scope"),
        (f"[servers.main]\n{SMART}\nprivate_key_env = 'X'", "FS541", 6, "private_key_env"),
        (f"[servers.main]\n{URL}\ntoken_command = 'SIGNIN-CANARY x'", "FS541", 3, "token_command"),
        (f"[servers.main]\n{URL}\ntoken_command = []", "FS541", 3, "token_command"),
        (f"[servers.main]\n{URL}\ntoken_keyring = ['service']", "FS541", 3, "token_keyring"),
        (f"[servers.main]\n{URL}\ntoken_file = 5", "FS541", 3, "token_file"),
        (f"[servers.main]\n{URL}\ntoken_env = ''", "FS541", 3, "token_env"),
    ],
)
def test_a_fault_is_told_with_its_line_and_key_and_without_its_value(
    text: str, code: str, line: int | None, key: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "servers.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        connect("main", file)
    place = caught.value.problem.place
    assert (caught.value.code, place.file, place.row, place.column) == (code, str(file), line, key)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "token",
        "client_secret",
        "private_key",
        "key_password",
        "proxy_password",
        "secret",
        "api_key",
        "passphrase",
        "credentials",
    ],
)
def test_a_secret_in_the_file_is_refused_and_the_ways_to_give_it_told(key: str, tmp_path: Path) -> None:
    file = tmp_path / "servers.toml"
    file.write_text(f'[servers.main]\n{URL}\n{key} = "SIGNIN-CANARY"')
    with pytest.raises(
        UsageError, match=rf"FS542.*`{key}_env`, `{key}_file`, `{key}_command`, `{key}_keyring`"
    ) as caught:
        connect("main", file)
    assert caught.value.problem.place.row == 3
    assert "CANARY" not in str(caught.value)


def test_a_file_that_is_missing_or_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    for name in ("none", "bytes"):
        with pytest.raises(UsageError, match="FS540"):
            connect("main", tmp_path / name)


def test_a_table_says_all_of_a_server(home: Path) -> None:
    file = home / "servers.toml"
    file.write_text(f"[servers.main]\n{URL}\nfhir = 'R5'\nrate = 2.5\nconnections = 4\nsize = 50\nsign_in = 'none'")
    found = connect("main", file)
    assert (found.fhir, found.connections, found.size, found.client.rate) == ("R5", 4, 50, 2.5)


def test_paths_are_meant_from_the_folder_of_the_file(home: Path) -> None:
    (home / "servers.toml").write_text(
        f"[servers.main]\n{URL}\nsign_in = 'basic'\nuser = 'me'\npassword_file = 'word'\nca = '~/ca.pem'"
    )
    with pytest.raises(UsageError, match="FS547") as caught:
        connect("main", home / "servers.toml")
    assert caught.value.problem.place.file == str(home / "ca.pem")
    (home / "servers.toml").write_text(f"[servers.main]\n{URL}\nsign_in = 'basic'\nuser = 'me'\npassword_file = 'word'")
    with pytest.raises(UsageError, match="FS544") as caught:
        connect("main", home / "servers.toml").client.request("GET", "metadata")
    assert caught.value.problem.place.file == str(home / "word")


def test_a_token_of_the_environment_goes_to_a_named_server_only_if_it_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FHIRSPACE_TOKEN", "CANARY")
    file = home / "servers.toml"
    file.write_text('[servers.main]\nurl = "http://hospital.example/fhir"')
    connect("main", file, insecure_http=True)
    file.write_text('[servers.main]\nurl = "http://hospital.example/fhir"\nsign_in = "bearer"')
    with pytest.raises(UsageError, match="FS514"):
        connect("main", file)
