"""Writes the SYNTHETIC EDC export of the SPACE study, one CSV a form.

    python samples/space/make.py                            # 26 subjects into records/ beside this file
    python samples/space/make.py --out DIR --subjects 100000
    python samples/space/make.py --out DIR --forms blood_count,vitals
    python samples/space/make.py --describe                 # the tables of README.md

Needs only the standard library. The same call writes the same bytes everywhere; the records of subject n do not depend
on how many subjects or which forms are asked for. Memory does not grow with the number of subjects.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from generator.cohort import person, read_cohort
from generator.forms import FILLS, Form, describe, read_forms, site_rows, study_row
from generator.forms_subject import Row
from generator.plan import plan

HERE = Path(__file__).parent


class _Output:
    """A CSV that appears under its name only when it is whole."""

    def __init__(self, form: Form, folder: Path, stack: ExitStack) -> None:
        self.form, self.path, self.rows = form, folder / f"{form.name}.csv", 0
        self._part = self.path.with_suffix(".csv.part")
        file: TextIO = stack.enter_context(self._part.open("w", encoding="utf-8", newline=""))
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(form.columns)

    def write(self, records: Iterable[Sequence[str]]) -> None:
        for record in records:
            self._writer.writerow(record)
            self.rows += 1

    def finish(self) -> None:
        self._part.replace(self.path)


def _flat(form: Form, rows: Iterable[Row]) -> Iterator[list[str]]:
    return ([row[column] for column in form.columns] for row in rows)


def write(folder: Path, subjects: int, forms: Sequence[Form]) -> dict[str, int]:
    """Writes the forms of a study of so many subjects into a folder; gives the number of records by form."""
    folder.mkdir(parents=True, exist_ok=True)
    cohort = read_cohort()
    with ExitStack() as stack:
        outputs = [_Output(form, folder, stack) for form in forms]
        per_subject = [output for output in outputs if output.form.name in FILLS]
        for output in outputs:
            if output.form.name == "study":
                output.write(_flat(output.form, [study_row(subjects)]))
            elif output.form.name == "sites":
                output.write(_flat(output.form, site_rows(subjects, len(cohort))))
        for index in range(subjects if per_subject else 0):
            of = plan(person(index, cohort))
            for output in per_subject:
                output.write(output.form.cells(of))
    for output in outputs:
        output.finish()
    return {output.form.name: output.rows for output in outputs}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit code is 0, or 2 where the call is wrong."""
    forms = read_forms()
    parser = argparse.ArgumentParser(description="Write the synthetic EDC export of the SPACE study.")
    parser.add_argument("--out", type=Path, default=HERE / "records", help="folder to write to (default: records/)")
    parser.add_argument("--subjects", type=int, default=26, help="number of subjects (default: 26)")
    parser.add_argument("--forms", default="", help="only these forms, comma between them")
    parser.add_argument(
        "--describe", action="store_true", help="print the forms and columns as Markdown, write nothing"
    )
    options = parser.parse_args(arguments)
    names = options.forms.split(",") if options.forms else list(forms)
    if unknown := [name for name in names if name not in forms]:
        parser.error(f"no such form: {', '.join(unknown)}; there are {', '.join(forms)}")
    if options.subjects < 1:
        parser.error("--subjects must be 1 or more")
    if options.describe:
        sys.stdout.write(describe(forms[name] for name in names))
        return 0
    counts = write(options.out, options.subjects, [forms[name] for name in names])
    sys.stderr.write(f"{sum(counts.values())} synthetic records in {len(counts)} forms: {options.out}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
