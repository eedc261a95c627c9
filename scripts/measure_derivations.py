"""Deletes the derived variables of a package, derives them again, and prints how many cells agree.

    python scripts/measure_derivations.py DATASETS [--study study.yaml] [--variable LBSTRESN] [--differences 20]

DATASETS is a folder with SDTM datasets. Each variable is deleted and derived alone, with everything else as the package
has it, as `convert --to sdtm` compares it; the standard results of a test are deleted together, derived in the units of
the design (SI without one), and converted to those of the package to compare them. For each variable: the cells that
the package has filled, those that are derived, and the share in which both agree (dates at the precision of both,
standard results within 0.5 %). Flags agree where both are empty as well. What CDISC's own packages do by rules of their
own is in scripts/studies/, what is left is explained in docs/decisions/0005-derivations.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fhirspace.sdtm import columns
from fhirspace.sdtm.derive.derive import derive
from fhirspace.sdtm.derive.design import StudyDesign, load_study
from fhirspace.sdtm.derive.differences import agree
from fhirspace.sdtm.derive.methods import METHODS
from fhirspace.standards import sdtm
from fhirspace.standards.units import convert
from fhirspace.tables import formats

TOGETHER = (("--STRESC", "--STRESN", "--STRESU"), ("--DY", "--STDY", "--ENDY"), ("AGE", "AGEU"))
APART = {"DOMAIN", "--SEQ", "SESEQ", "ETCD", "ELEMENT", "SESTDTC", "SEENDTC", "SE.EPOCH"}
"""Codes and numbers of records are the sponsor's; SE is derived only where a package has none."""


class Measured(NamedTuple):
    """One variable: cells that the package has, cells that are derived, cells that agree, cells compared."""

    dataset: str
    variable: str
    filled: int
    derived: int
    agreed: int
    compared: int


def groups() -> Iterator[tuple[str, ...]]:
    """The derived variables that are deleted together."""
    yield from TOGETHER
    grouped = {name for group in TOGETHER for name in group} | APART
    yield from ((name,) for name in METHODS if name not in grouped and not name.startswith("SV."))


def without(
    tables: Mapping[str, pa.Table], group: tuple[str, ...]
) -> tuple[dict[str, pa.Table], list[tuple[str, str]]]:
    """The tables without some variables, and those that were filled."""
    left, gone = dict(tables), list[tuple[str, str]]()
    for name, table in tables.items():
        if not sdtm.known(name) or (
            name in {"TV", "SV", "TA", "SE"} and group[0] in {"VISITNUM", "VISIT", "VISITDY", "EPOCH"}
        ):
            continue  # the source of these
        spelt = [each.replace("--", (sdtm.domain(name).prefix or name[:2])) for each in group]
        gone += [(name, each) for each in spelt if columns.filled(table, each)]
        left[name] = table.drop_columns([each for each in spelt if each in table.column_names])
    return left, gone


def measure(tables: Mapping[str, pa.Table], study: StudyDesign, wanted: str, most: int) -> Iterator[Measured]:
    """Each derived variable that the package has."""
    for group in groups():
        left, gone = without(tables, group)
        if not gone or not any(wanted in (name, "") for _, name in gone):
            continue
        made = derive(left, study).tables
        for dataset, name in gone:
            given, again = columns.text(tables[dataset], name), columns.text(made[dataset], name)
            if name.endswith(("STRESN", "STRESC")):
                again = _in_units_of(made[dataset], tables[dataset], name)
            pairs = list(zip(given.to_pylist(), again.to_pylist(), strict=True))
            flag = name.endswith("FL")
            judged = [pair for pair in pairs if flag or pair[0] is not None]
            same = [one == two if one is None or two is None else agree(name, one, two) for one, two in judged]
            yield Measured(dataset, name, len(given.drop_null()), len(again.drop_null()), sum(same), len(judged))
            if wanted == name:
                _show(tables[dataset], pairs, name, flag=flag, most=most)


def _in_units_of(made: pa.Table, package: pa.Table, name: str) -> pa.Array:
    """Standard results as they are in the units of the package, where its unit is another one."""
    prefix = name[:2]
    cells = {"test": columns.text(made, f"{prefix}TESTCD"), "result": columns.text(made, name)}
    cells |= {"unit": columns.text(made, f"{prefix}STRESU"), "wanted": columns.text(package, f"{prefix}STRESU")}
    groups = columns.Groups(pa.table(cells), list(cells))
    return groups.spread(_converted(*each) for each in groups.cells)


def _converted(test: str | None, result: str | None, unit: str | None, wanted: str | None) -> str | None:
    if result is None or unit is None or wanted is None or unit == wanted:
        return result
    return convert(result, unit, wanted, testcd=test) or result


def _show(table: pa.Table, pairs: list[tuple[str | None, str | None]], name: str, *, flag: bool, most: int) -> None:
    """Prints rows that do not agree: with values, so of packages without patients only."""
    shown = 0
    for row, (one, two) in enumerate(pairs):
        same = one == two if one is None or two is None else agree(name, one, two)
        if not same and (flag or one is not None) and shown < most:
            shown += 1
            cells = {key: cell for key, cell in table.slice(row, 1).to_pylist()[0].items() if cell is not None}
            print(f"row {row + 1}: {one} -> {two} {cells}", file=sys.stderr)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--study", type=Path, help="the design of the study")
    parser.add_argument("--variable", default="", help="only this one, with rows that differ")
    parser.add_argument("--differences", type=int, default=10, metavar="N", help="rows that differ, at most")
    options = parser.parse_args()
    tables = {name.upper(): formats.load(found).table for name, found in sorted(formats.scan(options.datasets).items())}
    study = load_study(options.study) if options.study else StudyDesign()
    print(f"{'dataset':<9}{'variable':<12}{'filled':>9}{'derived':>9}{'agree':>9}{'of':>9}{'share':>10}")
    for each in measure(tables, study, options.variable, options.differences):
        share = f"{each.agreed / each.compared:.2%}" if each.compared else ""
        print(f"{each.dataset:<9}{each.variable:<12}{each.filled:>9,}{each.derived:>9,}", end="")
        print(f"{each.agreed:>9,}{each.compared:>9,}{share:>10}")


if __name__ == "__main__":
    main()
