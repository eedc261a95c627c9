"""The kernel against the row-by-row renderer: the same bytes and the same faults, whichever way it takes."""

from __future__ import annotations

import random
from functools import cache

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from fhirspace.mapping.cells import with_forms
from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Each, Mapping, walk
from fhirspace.mapping.write import kernel as kernels
from fhirspace.mapping.write.kernel import Kernel
from fhirspace.mapping.write.placeholders import MARK, depends
from fhirspace.mapping.write.plan import Tuning
from fhirspace.mapping.write.render import BadRow, render
from fhirspace.standards.fhir import Release
from fhirspace.template.values import Fault, holds
from tests.support.shipped import datasets, marked

RELEASES: tuple[Release, ...] = ("R4", "R4B", "R5")
Cells = dict[str, str]
Items = dict[str, list[str | None]]

NASTY = [
    "Y", "N", "U", "NA", "x", 'say "a"', "b\\c", "é", "😀", "line\nbreak", "tab\there", "2017-06-14", "2017-06", "2017",
    "2017-06-14T10:30", "2017-06-14T10:30:00+02:00", "2017-02-30", "2016-02-29", "2017-06-31", "0000-01-01", "--06-14",
    "<5.50", ".5", "007", "5.50", "-0", "1e3", "1:80", "10-20", "-1-5", "NEGATIVE", "A|B", "A-LB-1", "S1-01", "1", "2", "-4",
    "1234567890", "bad\x01", "MILD", "M", "F", "NOT DONE", "NORMAL", "HIGH", "g/L", "mg/dL", " x", "x ", "x  y", "", MARK + "a",
    "x" * 70, "HTEST", "P6M", "\x7f", "a,b", "2017-06-14/2017-06-20",
]  # fmt: skip

TUNINGS = {
    "as it comes": Tuning(),
    "all volatile": Tuning(few=0, many=0),
    "none volatile": Tuning(few=10**9, keys=10),
    "small sections, small pieces, tables cleared": Tuning(few=2, many=5, growth=0.1, keys=0, rows=37, table=40),
}


@cache
def mappings(release: Release) -> dict[str, Mapping]:
    return Library(release).mappings


# SUPP-- is one mapping, spelt for each domain that has qualifiers: one of them is enough.
CASES = marked((release, domain) for release in RELEASES for domain in ("SUPPAE", *datasets(classes=release != "R4B")))


def columns_of(mapping: Mapping) -> list[str]:
    """All columns that a mapping looks at, and some that it does not know."""
    known = {name for root in mapping.roots() for name in depends(root) if name[0] != "@"}
    known |= {name.partition(".")[0] for block in mapping.blocks if block.when for name in block.when.columns()}
    return sorted(known | {"DOMAIN", "RDOMAIN", "EPOCH", "ZZUNKNOWN", "_HELPER"})


def usual(mapping: Mapping, column: str, row: int, rng: random.Random) -> str | None:  # noqa: PLR0911
    """A cell as clinical data have it."""
    if column in ("DOMAIN", "RDOMAIN"):
        return mapping.domain
    if column in ("USUBJID", "SUBJID"):
        return f"S1-{row // 7:03}"
    if column.endswith(("SEQ", "DY", "VISITNUM")):
        return str(row % 40 + 1)
    if "DTC" in column:
        return rng.choice(["2017-06-14", "2017-06", f"2017-06-{row % 28 + 1:02}T10:{row % 60:02}"])
    if column.endswith(("ORRES", "STRESN", "STRESC", "NRLO", "NRHI", "AGE", "DOSE")):
        return f"{rng.random() * 10:.2f}" if rng.random() < 0.95 else "<5.50"
    if column.endswith(("TERM", "VAL", "REASND", "TRT")):
        return f"term {row}" + (' "quoted"' if rng.random() < 0.1 else "")
    if column.endswith("CD"):
        return str(100_000 + row % 50)
    if column[0] == "_" or column.endswith("FL"):
        return "Y" if rng.random() < 0.8 else None
    return f"v{row % 5}" if rng.random() < 0.4 else None


def rows_of(mapping: Mapping, count: int, odd: float, rng: random.Random) -> tuple[list[str], list[Cells]]:
    """Columns in any order, and rows: usual cells, and a share of nasty ones."""
    columns = columns_of(mapping)
    rng.shuffle(columns)
    pool = rng.sample(NASTY, rng.choice([4, len(NASTY)]))
    rows: list[Cells] = []
    for row in range(count):
        drawn = {
            name: rng.choice(pool) if rng.random() < odd else usual(mapping, name, row, rng)
            for name in columns
            if odd < 1 or rng.random() < 0.6
        }
        rows.append({name: cell for name, cell in drawn.items() if cell is not None})
    return columns, rows


def table_of(columns: list[str], rows: list[Cells], rng: random.Random) -> pa.Table:
    """The rows as a table, each column plain or as a dictionary."""
    arrays = [pa.array([row.get(name) for row in rows], pa.string()) for name in columns]
    return pa.table(
        [pa.array(range(len(rows))), *(each.dictionary_encode() if rng.random() < 0.5 else each for each in arrays)],
        names=["@row", *columns],
    )


def items_of(mapping: Mapping, count: int, rng: random.Random) -> Items:
    domains = sorted({node.domain for root in mapping.roots() for node in walk(root) if isinstance(node, Each)})
    return {name: [rng.choice([None, '{"a":"é"}', '{},{"b":1}']) for _ in range(count)] for name in domains}


def meaning(
    mapping: Mapping, columns: list[str], rows: list[Cells], items: Items
) -> tuple[list[list[bytes | None]], list[tuple[int, Fault]]]:
    """What the row-by-row renderer makes of a table."""
    seen: list[set[tuple[str | None, ...]]] = [set() for _ in mapping.blocks]
    texts: list[list[bytes | None]] = [[] for _ in mapping.blocks or [None]]
    faults: list[tuple[int, Fault]] = []
    for place, row in enumerate(rows):
        cells = {name: row[name] for name in columns if name in row}
        each = {name: [text] for name, found in items.items() if (text := found[place]) is not None}
        try:
            made = iter(render(mapping, cells, each))
        except BadRow as bad:
            faults += [(place, fault) for fault in bad.faults]
            for missing in texts:
                missing.append(None)
            continue
        if not mapping.blocks:
            texts[0].append(next(made)[1].encode())
        known = with_forms(mapping, cells)
        for number, block in enumerate(mapping.blocks):
            line = (next(made)[1] + "\n").encode() if holds(block.when, known) else None
            combination = tuple(row.get(name) for name in block.once)
            if line is not None and block.once and combination in seen[number]:
                line = None
            elif line is not None:
                seen[number].add(combination)
            texts[number].append(line)
    return texts, faults


def ran(
    kernel: Kernel, table: pa.Table, items: Items, step: int
) -> tuple[list[list[bytes | None]], list[tuple[int, Fault]]]:
    """What a kernel makes of a table, batch by batch."""
    texts: list[list[bytes | None]] = []
    faults: list[tuple[int, Fault]] = []
    for start in range(0, max(len(table), 1), step):
        each = {name: pa.array(found[start : start + step], pa.string()) for name, found in items.items()}
        made = kernel.run(table.slice(start, step), each)
        texts = texts or [[] for _ in made.texts]
        for number, array in enumerate(made.texts):
            array.validate(full=True)
            texts[number] += array.to_pylist()
            assert made.lines(number).to_pybytes() == b"".join(filter(None, array.to_pylist()))
        faults += [(start + row, fault) for row, fault in made.faults]
    return texts, faults


@pytest.mark.parametrize(("release", "domain"), CASES)
def test_a_batch_is_what_its_rows_are(release: Release, domain: str) -> None:
    hold(release, domain, {"R4": 4, "R4B": 1, "R5": 2}[release])


def hold(release: Release, domain: str, tables: int) -> None:
    """The law for some tables; `soak_laws` takes more."""
    mapping = mappings(release)[domain]

    @settings(
        max_examples=tables, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(data=st.data())
    def law(data: st.DataObject) -> None:
        same(mapping, data)

    law()


def same(mapping: Mapping, data: st.DataObject) -> None:
    """Kernel and renderer agree on a table that is drawn."""
    rng = random.Random(data.draw(st.integers(0, 2**32), "seed"))
    count = data.draw(st.sampled_from([1, 5, 40, 120]), "rows")
    columns, rows = rows_of(mapping, count, data.draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]), "odd"), rng)
    table, items = table_of(columns, rows, rng), items_of(mapping, count, rng)
    kernel = Kernel(mapping, TUNINGS[data.draw(st.sampled_from(sorted(TUNINGS)), "tuning")])
    # A plan is made for each batch: rows one by one are few, many rows come in a few batches.
    step = max(data.draw(st.sampled_from([1, 7, 60, 1000]), "step"), count // 5) if count < 100 else 50
    assert ran(kernel, table, items, step) == meaning(mapping, columns, rows, items)


def lab(count: int) -> list[Cells]:
    """Clean laboratory rows as studies have them: whole and partial dates, times, `<`, and columns that have no home."""
    rng = random.Random(7)
    rows = []
    for row in range(count):
        value = f"{rng.random() * 9 + 1:.2f}"
        rows.append({
            "STUDYID": "S1", "DOMAIN": "LB", "USUBJID": f"S1-{row // 80:04}", "LBSEQ": str(row % 80 + 1),
            "LBTESTCD": f"T{row % 8}", "LBTEST": f"Test {row % 8}", "LBCAT": "CHEMISTRY", "LBORRES": f"<{value}" if row % 50 == 3 else value,
            "LBORRESU": "g/L", "LBSTRESC": value, "LBSTRESN": value, "LBSTRESU": "g/L", "LBORNRLO": "1", "LBORNRHI": "9",
            "LBNRIND": "NORMAL", "EPOCH": "TREATMENT", "VISITNUM": str(row % 10), "VISIT": f"VISIT {row % 10}", "LBDY": str(row % 90),
            "LBLOBXFL": "Y", "LBDTC": ("2017-06", "2017-06-14", f"2017-06-14T10:{row % 60:02}")[row % 3],
        } | ({"_has_SV_USUBJID_VISITNUM": "Y", "ZZCOMMENT": f'he said "{row}"'} if row % 2 else {}))  # fmt: skip
    return rows


def plain(rows: list[Cells]) -> tuple[list[str], pa.Table]:
    columns = sorted({name for row in rows for name in row})
    return columns, pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in columns})


def test_clean_rows_never_go_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = mappings("R4")["LB"]
    rows = lab(4000)
    columns, table = plain(rows)
    expected = meaning(mapping, columns, rows[:200], {})

    def refuse(*_: object) -> None:
        raise AssertionError("a clean row was rendered by itself")

    monkeypatch.setattr(kernels, "render", refuse)
    kernel = Kernel(mapping)
    made = kernel.run(table)
    assert (made.texts[0].slice(0, 200).to_pylist(), made.faults) == (expected[0][0], [])
    assert kernel._plan is not None and kernel._plan.rendered < 600


@pytest.mark.slow
@pytest.mark.parametrize("tuning", TUNINGS.values(), ids=list(TUNINGS))
@pytest.mark.parametrize("step", [1, 333, 5000])
def test_bytes_depend_neither_on_batches_nor_on_tuning(tuning: Tuning, step: int) -> None:
    mapping = mappings("R5")["LB"]
    rows = lab(700 if step > 1 else 60)
    columns, table = plain(rows)
    assert ran(Kernel(mapping, tuning), table, {}, step) == meaning(mapping, columns, rows, {})


def test_a_resource_made_once_comes_from_the_first_good_row() -> None:
    mapping = mappings("R4")["DM"]
    rows = [
        {"STUDYID": "S1", "USUBJID": f"S1-{row}", "SUBJID": str(row), "SITEID": f"0{row % 3}", "_STATUS": "candidate", "BRTHDTC": "1950"}
        for row in range(9)
    ]  # fmt: skip
    rows[0]["BRTHDTC"] = "1950-02-30"
    columns, table = plain(rows)
    texts, faults = ran(Kernel(mapping), table, {}, 4)
    assert (texts, faults) == meaning(mapping, columns, rows, {})
    assert [row for row, _ in faults] == [0]
    study = [block.resource for block in mapping.blocks].index("ResearchStudy")
    assert [row for row, text in enumerate(texts[study]) if text is not None] == [1]


def test_many_resources_made_once_are_all_made() -> None:
    mapping = mappings("R4")["DM"]
    rows = [{"STUDYID": f"S{row % 50}", "USUBJID": f"S1-{row}", "SITEID": "01"} for row in range(100)]
    columns, table = plain(rows)
    assert ran(Kernel(mapping), table, {}, 30) == meaning(mapping, columns, rows, {})


def test_a_batch_of_bad_rows_tells_all_their_faults() -> None:
    mapping = mappings("R4")["LB"]
    rows = [{**row, "LBSEQ": "one", "LBDTC": "yesterday"} for row in lab(300)]
    columns, table = plain(rows)
    texts, faults = ran(Kernel(mapping), table, {}, 100)
    assert (texts, faults) == meaning(mapping, columns, rows, {})
    assert len(faults) >= 600 and set(texts[0]) == {None}


@pytest.mark.parametrize(
    "changed",
    [
        lambda column: column.cast(pa.large_string()),
        lambda column: column.dictionary_encode().cast(pa.dictionary(pa.int16(), pa.string())),
        lambda column: pa.chunked_array([column.combine_chunks()[:13], column.combine_chunks()[13:]]),
        lambda column: pa.chunked_array(
            [pa.DictionaryArray.from_arrays(list(range(len(column))), pa.array([*column.to_pylist(), *map(str, range(999)), None]))]
        ),
    ],
    ids=["large strings", "short indices", "chunks", "a dictionary larger than the batch, with a null"],
)  # fmt: skip
def test_columns_of_any_text_type(changed: object) -> None:
    mapping = mappings("R4")["LB"]
    rows = lab(90)
    columns, table = plain(rows)
    other = pa.table({name: changed(table[name]) for name in columns})  # type: ignore[operator]
    assert ran(Kernel(mapping), other, {}, 50) == meaning(mapping, columns, rows, {})


def test_no_rows_make_no_lines() -> None:
    made = Kernel(mappings("R4")["LB"]).run(pa.table({"STUDYID": pa.array([], pa.string())}))
    assert (made.texts[0].to_pylist(), made.faults, made.lines(0).to_pybytes()) == ([], [], b"")


def test_a_table_without_a_known_column_is_read_as_empty_cells() -> None:
    mapping = mappings("R4")["DM"]
    table = pa.table({"@row": [2, 3]})
    assert ran(Kernel(mapping), table, {}, 9) == meaning(mapping, [], [{}, {}], {})


def test_texts_too_long_for_small_offsets_have_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = mappings("R4")["LB"]
    _, table = plain(lab(100))
    whole = Kernel(mapping).run(table)
    monkeypatch.setattr(kernels, "_LIMIT", 1000)
    made = Kernel(mapping, Tuning(rows=40)).run(table)
    assert made.texts[0].type == pa.large_binary()
    assert made.lines(0) == whole.lines(0)


def test_a_slice_of_the_texts_is_not_needed_to_find_the_lines() -> None:
    _, table = plain(lab(10))
    made = Kernel(mappings("R4")["LB"]).run(table)
    cut = kernels.Rendered([made.texts[0].slice(3, 4)], [], [])
    assert cut.lines(0).to_pybytes() == b"".join(made.texts[0].to_pylist()[3:7])


@pytest.mark.slow
def test_plans_follow_the_data() -> None:
    """Columns that repeat at first and do not later are made volatile when the tables strain; the bytes stay right."""
    mapping = mappings("R4")["LB"]
    rows = lab(300)
    for row in rows:
        row["LBMETHOD"] = "SAME"
    later = [dict(row, LBMETHOD=f"method {place}", LBSPEC=f"specimen {place}") for place, row in enumerate(lab(2400))]
    first, second = plain(rows), plain(later)
    both = pa.concat_tables([first[1].append_column("LBSPEC", pa.nulls(300, pa.string())).select(second[0]), second[1]])
    kernel = Kernel(mapping)
    kernel.run(both.slice(0, 300))
    plan = kernel._plan
    texts, faults = ran(kernel, both.slice(300), {}, 600)
    assert kernel._plan is not plan
    assert kernel._plan is not None and "LBMETHOD" in kernel._plan.stage.volatile
    assert (texts, faults) == meaning(mapping, second[0], later, {})
