"""The software bill of materials holds all that the lock files have, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

from fhirspace.localserver import jars

ROOT = Path(__file__).parents[2]
SCRIPT = "make_sbom"


def test_the_bill_has_each_package_and_each_jar_with_its_digests(script: ModuleType) -> None:
    made = script.bill(ROOT)
    by_ref = {each["bom-ref"]: each for each in made["components"]}
    assert len(by_ref) == len(made["components"])
    locked = script.read_lock((ROOT / "requirements.lock").read_text("utf-8"))
    for each in locked:
        (files,) = by_ref.pop(f"pkg:pypi/{each.name}@{each.version}")["externalReferences"]
        assert {f"sha256:{digest['content']}" for digest in files["hashes"]} == set(each.hashes)
    names = ("lock-r4.txt", "lock-all.txt", "lock-compiler.txt")
    for jar in {jar for name in names for jar in jars.read_lock(jars.packaged(name))}:
        group, artifact, version, classifier = jar.parts
        found = by_ref.pop(f"pkg:maven/{group}/{artifact}@{version}" + (classifier and f"?classifier={classifier}"))
        assert found["hashes"] == [{"alg": "SHA-256", "content": jar.sha256}]
    assert list(by_ref) == [script.SERVER]


def test_what_needs_what_is_in_it(script: ModuleType) -> None:
    made = script.bill(ROOT)
    edges = {each["ref"]: each["dependsOn"] for each in made["dependencies"]}
    refs = {each["bom-ref"] for each in made["components"]} | {made["metadata"]["component"]["bom-ref"]}
    assert edges.keys() == {ref for ref in refs if not ref.startswith("pkg:maven/")}, "of jars it is not known"
    main = made["metadata"]["component"]["bom-ref"]
    own = {re.split("[/@]", ref)[1] for ref in edges[main] if ref.startswith("pkg:pypi")}
    assert {"pyarrow", "msgspec", "pyyaml", "requests", "tqdm", "lxml"} <= own
    assert any(ref.startswith("pkg:pypi/urllib3@") for ref in edges[next(ref for ref in refs if "/requests@" in ref)])
    reached, left = set[str](), [main]
    while left:
        ref = left.pop()
        if ref not in reached:
            reached.add(ref)
            left += edges.get(ref, ())
    assert reached == refs


def test_it_depends_on_the_locks_alone(script: ModuleType) -> None:
    text = json.dumps(script.bill(ROOT))
    assert text == json.dumps(script.bill(ROOT))
    assert not re.search("timestamp|serialNumber", text)
    assert set(re.findall(r"https?://[^/\"]+", text)) == {"http://cyclonedx.org"}
