"""What ``fhirspace rules`` does."""

from __future__ import annotations

from argparse import Namespace

from fhirspace.cli.console import give, print_line, say
from fhirspace.errors import EXIT_CLEAN, EXIT_FINDINGS
from fhirspace.foreign import counted, shown

_LONGEST = 400


def rules(options: Namespace) -> int:
    """``fhirspace rules``."""
    return _test(options)


def _test(options: Namespace) -> int:
    """``fhirspace rules test``: a line for each rule, and below one that fails the first differences."""
    from fhirspace.sdtm.rules.cases import Tested, run

    tested = list[Tested]()
    for each in run(options.path):
        tested.append(each)
        if not options.json:
            print_line(f"{each.status:<5}  {shown(each.id)}  {each.passed} of {counted(each.cases, 'case')}")
            for line in each.differences:
                print_line(f"       {shown(line, _LONGEST)}")
    if options.json:
        listed = [{"id": each.id, "status": each.status, "differences": each.differences} for each in tested]
        give({"rules": listed}, "", as_json=True)
    good = sum(each.status == "pass" for each in tested)
    say(f"{good} of {counted(len(tested), 'rule')} passed")
    return EXIT_CLEAN if good == len(tested) else EXIT_FINDINGS
