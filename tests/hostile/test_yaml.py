"""YAML that would take all memory, all time or the stack: refused at once, with its line and the option."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import pytest

from fhirspace import limits
from fhirspace.cli import main
from fhirspace.errors import MappingError, UsageError
from fhirspace.sdtm.derive.design import load_study
from fhirspace.template import yaml_nodes as nodes


def bomb(levels: int, width: int = 9, *, maps: bool = False) -> str:
    """Each level refers `width` times to the one before: width ** levels nodes in a few hundred bytes."""
    lines = ["domain: AE", "l0: &l0 [x]"]
    for level in range(1, levels):
        names = [f"*l{level - 1}"] * width
        inside = ", ".join(f"k{n}: {name}" for n, name in enumerate(names)) if maps else ", ".join(names)
        lines.append(f"l{level}: &l{level} " + (f"{{{inside}}}" if maps else f"[{inside}]"))
    return "\n".join(lines) + "\n"


ATTACKS = {
    "alias bomb": (bomb(12), "yaml-nodes"),
    "alias bomb of maps": (bomb(12, maps=True), "yaml-nodes"),
    "alias bomb in a second document": ("domain: AE\n---\n" + bomb(12), "yaml-nodes"),
    "bomb in a merge key": (bomb(12) + "again:\n  <<: *l11\n", "yaml-nodes"),
    "deep flow lists": ("domain: " + "[" * 500 + "]" * 500 + "\n", "yaml-depth"),
    "deep maps": ("domain: " + "{a: " * 500 + "x" + "}" * 500 + "\n", "yaml-depth"),
    "deep block lists": ("domain:\n  " + "- " * 5_000 + "x\n", "yaml-depth"),
    "deep indentation": ("".join(" " * n + "a:\n" for n in range(2_000)), "yaml-depth"),
    "many nodes": ("domain: [" + "x," * 10_001 + "]\n", "yaml-nodes"),
    "many bytes": ("domain: " + "x" * 10_000_001 + "\n", "yaml-bytes"),
}
CHOSEN = {"many nodes": "yaml-nodes=10000"}
"""Bounds that are lower than by default, where a million nodes would take a second to read."""
ODD = {
    "flow lists deeper than the parser goes": ("domain: " + "[" * 100_000 + "\n", "FS160 FS301"),
    "a list that holds itself": ("domain: &a [*a]\n", "FS303"),
    "a map that holds itself": ("domain: AE\nx: &a {b: *a}\n", "FS303"),
    "an alias of nothing": ("domain: *a\n", "FS301"),
    "a Python object": ("domain: !!python/object/apply:os.system [id]\n", ""),
    "a key twice": ("domain: AE\ndomain: LB\n", "FS302"),
    "a list as a key": ("? [a]\n: b\n", "FS301"),
    "no text": ("domain: \x00\n", "FS301"),
    "a list": ("- a\n", "FS301"),
    "a tab": ("domain:\n\t- a\n", "FS301"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("study", [False, True], ids=["mapping", "study"])
def test_what_would_never_end_is_refused_at_once(
    attack: str, study: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, bound = ATTACKS[attack]
    monkeypatch.setenv(limits.VARIABLE, CHOSEN.get(attack, ""))
    path = tmp_path / "x.yaml"
    path.write_text(text, "utf-8")
    begin = time.process_time()
    with pytest.raises(UsageError) as caught:
        load_study(path) if study else nodes.load(path)
    assert time.process_time() - begin < 20  # seconds; without the bound it is hours
    assert caught.value.code == "FS160"
    assert f"--limit {bound}=N" in str(caught.value)
    assert "x.yaml" in str(caught.value)


@pytest.mark.parametrize("odd", ODD)
def test_odd_yaml_is_refused_or_is_text(odd: str, tmp_path: Path) -> None:
    text, code = ODD[odd]
    path = tmp_path / "x.yaml"
    path.write_text(text, "utf-8")
    if not code:
        assert isinstance(nodes.load(path)[0].get("domain"), nodes.Seq)  # tags mean nothing here
        return
    with pytest.raises(MappingError) as caught:
        nodes.load(path)
    assert caught.value.code in code.split()


def test_aliases_that_stand_for_little_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(bomb(4), "utf-8")
    assert len(nodes.load(path)[0].items) == 5


@pytest.mark.parametrize("where", ["domains", "sources"])
def test_the_command_ends_with_2(where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my" / where
    folder.mkdir(parents=True)
    (folder / "ae.yaml").write_text(bomb(12), "utf-8")
    options = ["--mappings", str(tmp_path / "my")] if where == "domains" else ["--source", str(folder)]
    assert main(["mapping", "check", *options]) == 2
    assert "FS160 ae.yaml:" in capsys.readouterr().err


def test_many_keys_take_time_in_proportion(tmp_path: Path) -> None:
    def seconds(keys: int, note: int = 0) -> float:
        path = tmp_path / f"{keys}.yaml"
        path.write_text(f"# {note}\n" + "".join(f"k{n}: v\n" for n in range(keys)), "utf-8")  # no text twice
        gc.disable()  # it would look at all that other tests have left
        begin = time.process_time()
        assert len(nodes.load(path)[0].items) == keys
        taken = time.process_time() - begin
        gc.enable()
        return taken

    # Twenty times as many keys. Each key against each other, they would take 170 times as long.
    assert seconds(20_000) < 80 * min(seconds(1_000, note) for note in range(3))
