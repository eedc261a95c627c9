"""The documentation agrees with the code: generated parts are up to date, examples load, links lead somewhere."""

import argparse
import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fhirspace.cli import parser as cli
from fhirspace.errors import catalogue
from fhirspace.forms.build import _HEAD as FORM_KEYS
from fhirspace.forms.library import SourceLibrary
from fhirspace.mapping.library import Library
from fhirspace.template.codecs import NAMES

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page: page.read_text("utf-8") for page in PAGES}
LANGUAGE = TEXTS[ROOT / "docs" / "mapping-language.md"]


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


make_docs = load_script("make_docs")


@pytest.mark.parametrize("path", make_docs.FILES)
def test_a_generated_file_is_up_to_date(path):
    assert (ROOT / path).read_text("utf-8") == make_docs.FILES[path](), "run python scripts/make_docs.py"


def test_make_docs_tells_what_is_out_of_date_and_mends_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_docs, "ROOT", tmp_path)
    monkeypatch.setattr(make_docs, "FILES", {"docs/errors.md": make_docs.errors})
    assert make_docs.main(["--check"]) == 1
    assert not (tmp_path / "docs").exists()
    assert make_docs.main([]) == 0
    assert make_docs.main(["--check"]) == 0
    assert capsys.readouterr().out == "docs/errors.md: out of date\ndocs/errors.md: written\n"


def links(text):
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def anchors(text):
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in links(TEXTS[page]):
        if not link.startswith("https://"):
            target, _, anchor = link.partition("#")
            path = (page.parent / target).resolve() if target else page
            assert path.exists(), link
            assert path.is_relative_to(ROOT), link
            assert not anchor or anchor in anchors(path.read_text("utf-8")), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_ends_where_it_should(page):
    fences = [line for line in TEXTS[page].splitlines() if line.startswith("```")]
    assert len(fences) % 2 == 0
    assert all(line == "```" for line in fences[1::2]), "a block that was not closed, or was closed too early"


def test_the_page_on_installation_lists_the_extras():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    listed = re.findall(r"^\| `(\w+)` \|", TEXTS[ROOT / "docs" / "install.md"], re.M)
    assert sorted(listed) == sorted(set(extras) - {"test", "lint", "sbom"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_place_of_one_machine(page):
    text = TEXTS[page]
    assert not re.search(r"(?<![\w.:/)-])/(home|work|root|Users|tmp|mnt|opt|usr|var)/", text)
    assert not re.search(r"--index-url|--extra-index|artifactory|nexus", text, re.I)


def test_every_command_and_option_is_in_the_reference():
    reference = TEXTS[ROOT / "docs" / "cli.md"]
    for name, command in make_docs.commands(cli.parser()).items():
        section = reference.partition(f"\n## fhirspace {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for action in command._actions:
            assert all(f"`{option}`" in section for option in action.option_strings if action.dest != "help"), name


def test_every_command_is_told_of_in_a_page_for_people():
    prose = "\n".join(text for page, text in TEXTS.items() if page.name != "cli.md")
    for name in make_docs.commands(cli.parser()):
        assert re.search(rf"fhirspace {name}\b", prose), name


def test_commands_in_the_pages_exist_with_their_options():
    parser = cli.parser()
    known = make_docs.commands(parser)
    for page, text in TEXTS.items():
        for block in re.findall(r"^```(?:text|sh)\n(.*?)^```$", text, re.M | re.S):
            for line in block.splitlines():
                words = re.split(r"\s+", re.split(r"\s#\s|\s>\s", line)[0].strip())
                if words[0] == "fhirspace" and "..." not in words:
                    options = {option for action in known[words[1]]._actions for option in action.option_strings}
                    used = {word for word in words[2:] if word.startswith("--")}
                    assert used <= options, f"{page.name}: {line}"
                    assert isinstance(parser, argparse.ArgumentParser)


def test_every_code_in_the_pages_is_in_the_catalogue():
    for page, text in TEXTS.items():
        for code in re.findall(r"\bFS\d{3}\b", text):
            assert code in catalogue() or re.search(rf"{code}-\d|FS\d+-{code[2:]}", text), f"{page.name}: {code}"


def test_entries_of_the_catalogue_are_sentences_and_differ():
    entries = catalogue().values()
    for entry in entries:
        assert entry.sentence[0].isupper(), entry.code
        assert all(text.endswith(".") for text in (entry.sentence, entry.cause, entry.fix)), entry.code
        assert len(entry.sentence) <= 120 and entry.level in {"error", "warning", "note"}, entry.code
    assert len({(entry.sentence, entry.cause) for entry in entries}) == len(entries)


def test_the_language_page_names_every_codec_and_key():
    assert all(f"| `{name}` |" in LANGUAGE for name in NAMES)
    assert all(f"`{key}`" in LANGUAGE for key in FORM_KEYS)


EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", LANGUAGE, re.M | re.S)


@pytest.mark.slow
@pytest.mark.parametrize("release", ["R4", "R4B", "R5"])
def test_domain_examples_of_the_language_page_load(tmp_path, release):
    (tmp_path / "domains").mkdir()
    found = [text for text in EXAMPLES if text.startswith("domain:")]
    assert len(found) == 3
    for number, text in enumerate(found):
        (tmp_path / "domains" / f"{number}.yaml").write_text(text, "utf-8")
    files = {mapping.domain: mapping.file for mapping in Library(release, [tmp_path]).complete().values()}
    assert (files["MH"], files["EG"], files["DS"]) == ("0.yaml", "1.yaml", "2.yaml")


def test_form_examples_of_the_language_page_load(tmp_path):
    for number, text in enumerate(text for text in EXAMPLES if text.startswith("form:")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "form.yaml").write_text(text, "utf-8")
    vitals, medication, diary = (SourceLibrary(folder).forms for folder in sorted(tmp_path.iterdir()))
    assert vitals["vitals"].datasets == diary["diary"].datasets == ("VS",)
    assert medication["medication"].mapping.documents[0].related == (("CMAENO", "AESPID"),)
    assert diary["diary"].mapping.declared.missing == {"-99", "NA", "."}


@pytest.mark.parametrize("name", ["demo", "loading"])
def test_the_picture_is_of_the_captured_text(name):
    picture = ElementTree.fromstring((ROOT / "docs" / f"{name}.svg").read_text("utf-8"))
    shown = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    captured = (ROOT / "docs" / f"{name}.txt").read_text("utf-8")
    assert shown == [line.strip() for line in captured.splitlines() if line.strip()]


def test_the_readme_gives_the_two_commands_that_ci_runs():
    readme = TEXTS[ROOT / "README.md"]
    assert "pip install tox && tox run -e demo" in readme
    assert "pip install tox && tox run " in readme
    assert (ROOT / ".ci" / "run").read_text("utf-8").splitlines()[-1] == "pip install tox && tox run"


def test_promises_name_tests_that_exist():
    table = TEXTS[ROOT / "README.md"].partition("## What it promises")[2].partition("## ")[0]
    named = re.findall(r"\]\((tests/[^)]+)\)", table)
    rows = [
        line for line in table.splitlines() if line.startswith("| ") and "tested by" not in line and "---" not in line
    ]
    assert len(rows) > 8
    assert all("](tests/" in row for row in rows)
    for path in named:
        assert has_tests(path), path


def has_tests(path):
    sources = [ROOT / path] if path.endswith(".py") else list((ROOT / path).glob("test_*.py"))
    return any(source.is_file() and "\ndef test_" in source.read_text("utf-8") for source in sources)


SECURITY = TEXTS[ROOT / "docs" / "security.md"]


def test_every_threat_has_promises_with_tests_that_exist_and_what_is_not_promised():
    threats = re.findall(r"^## ([^\n]+)\n((?:(?!^## ).)*)", SECURITY, re.M | re.S)
    held = {title: text for title, text in threats if "Promised" in text}
    assert len(held) >= 9
    for title, text in held.items():
        assert "Not promised:" in text or "nothing beyond" in text, title
        promised = text.partition("Promised:\n")[2].partition("Not promised:")[0]
        for promise in re.split(r"^- ", promised, flags=re.M)[1:]:
            named = re.findall(r"`(tests/[^`]+)`", promise)
            assert named, promise
            assert all(map(has_tests, named)), promise


def test_the_page_on_security_names_every_attack():
    files = sorted((ROOT / "tests" / "hostile").glob("test_*.py"))
    left = [file.name for file in files if f"`tests/hostile/{file.name}`" not in SECURITY]
    assert not left, "name it in docs/security.md, beside the promise that it holds"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_lines_of_pages_are_short(page):
    long = [line for line in TEXTS[page].splitlines() if len(line) > 120 and not line.startswith("|")]
    assert not long, "at most 120 characters, but in tables"


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=lambda page: page.name)
def test_a_decision_has_its_number_a_date_and_a_status(page):
    title, _, status, *_ = TEXTS[page].splitlines()
    assert title.startswith(f"# {int(page.name[:4])}. ")
    assert re.match(r"Date: \d{4}-\d\d-\d\d\. Status: (accepted|superseded by)\b", status)
