"""Our own rules over a small study: clean as it is, and each fault that is put into it is found by its rule."""

from functools import cache
from typing import Any

import pytest

from fhirspace.sdtm.rules.catalogue import own
from fhirspace.sdtm.rules.engine import Engine, Outcome
from fhirspace.sdtm.rules.model import Rule
from fhirspace.sdtm.rules.study import About, Dataset, Study
from fhirspace.standards import sdtm, terminology
from tests.sdtm.rules.rules_data import dataset

Tables = dict[str, dict[str, list[Any]]]


@cache
def base() -> Tables:
    """Two subjects, one arm, two epochs, one of most things."""
    two = {"STUDYID": ["S"] * 2, "USUBJID": ["S-1", "S-2"]}
    one = {"STUDYID": ["S"], "USUBJID": ["S-1"]}
    ts = dict.fromkeys(
        [
            "ADDON",
            "AGEMAX",
            "AGEMIN",
            "LENGTH",
            "PLANSUB",
            "RANDOM",
            "SEXPOP",
            "STOPRULE",
            "TBLIND",
            "TCNTRL",
            "TDIGRP",
            "TINDTP",
            "TITLE",
            "TPHASE",
            "TTYPE",
            "ACTSUB",
            "ADAPT",
            "CURTRT",
            "DCUTDESC",
            "DCUTDTC",
            "FCNTRY",
            "HLTSUBJI",
            "INDIC",
            "INTMODEL",
            "INTTYPE",
            "NARMS",
            "OBJPRIM",
            "OUTMSPRI",
            "REGID",
            "SDTIGVER",
            "SDTMVER",
            "SPONSOR",
            "SSTDTC",
            "STYPE",
            "TRT",
        ],
        "X",
    ) | {"AGEMAX": "P65Y", "AGEMIN": "P18Y", "LENGTH": "P1Y", "PLANSUB": "2", "ACTSUB": "2", "NARMS": "1"}
    ts |= {"SSTDTC": "2020-01-01", "DCUTDTC": "2020-12-31"}
    return {
        "DM": {
            **two,
            "DOMAIN": ["DM"] * 2,
            "SUBJID": ["1", "2"],
            "RFSTDTC": ["2020-01-10"] * 2,
            "RFENDTC": ["2020-03-01"] * 2,
            "RFXSTDTC": ["2020-01-10"] * 2,
            "RFXENDTC": ["2020-02-28"] * 2,
            "RFICDTC": ["2020-01-02"] * 2,
            "RFPENDTC": ["2020-03-01"] * 2,
            "DTHDTC": [None, "2020-03-01"],
            "DTHFL": [None, "Y"],
            "SITEID": ["1"] * 2,
            "BRTHDTC": ["1970-01-01"] * 2,
            "AGE": [50.0, 50.0],
            "AGEU": ["YEARS"] * 2,
            "SEX": ["F", "M"],
            "RACE": ["ASIAN"] * 2,
            "ETHNIC": ["UNKNOWN"] * 2,
            "ARMCD": ["A"] * 2,
            "ARM": ["Arm A"] * 2,
            "ACTARMCD": ["A"] * 2,
            "ACTARM": ["Arm A"] * 2,
            "ARMNRS": [None] * 2,
            "ACTARMUD": [None] * 2,
            "COUNTRY": ["DEU"] * 2,
        },
        "AE": {
            **two,
            "DOMAIN": ["AE"] * 2,
            "AESEQ": [1.0, 1.0],
            "AETERM": ["headache", "cardiac arrest"],
            "AELLT": ["Headache", "Cardiac arrest"],
            "AELLTCD": [1.0, 2.0],
            "AEDECOD": ["Headache", "Cardiac arrest"],
            "AEPTCD": [1.0, 2.0],
            "AEHLT": ["Headaches", "Heart"],
            "AEHLTCD": [1.0, 2.0],
            "AEHLGT": ["Headaches", "Heart"],
            "AEHLGTCD": [1.0, 2.0],
            "AEBODSYS": ["Nervous", "Cardiac"],
            "AEBDSYCD": [1.0, 2.0],
            "AESOC": ["Nervous", "Cardiac"],
            "AESOCCD": [1.0, 2.0],
            "AESER": ["N", "Y"],
            "AEACN": ["NOT APPLICABLE"] * 2,
            "AEREL": ["N", "N"],
            "AEOUT": ["RECOVERED/RESOLVED", "FATAL"],
            "AESDTH": ["N", "Y"],
            "EPOCH": ["TREATMENT", "TREATMENT"],
            "AESTDTC": ["2020-01-20", "2020-03-01"],
            "AEENDTC": ["2020-01-22", "2020-03-01"],
            "AESTDY": [11.0, 52.0],
            "AEENDY": [13.0, 52.0],
            "AEENRTPT": [None] * 2,
            "AEENTPT": [None] * 2,
        },
        "CM": {
            **one,
            "DOMAIN": ["CM"],
            "CMSEQ": [1.0],
            "CMTRT": ["aspirin"],
            "CMDOSE": [100.0],
            "CMDOSTXT": [None],
            "CMDOSU": ["mg"],
            "CMSTDTC": ["2020-01-20"],
            "CMENDTC": ["2020-01-21"],
        },
        "DS": {
            **one,
            "DOMAIN": ["DS"],
            "DSSEQ": [1.0],
            "DSTERM": ["COMPLETED"],
            "DSDECOD": ["COMPLETED"],
            "DSCAT": ["DISPOSITION EVENT"],
            "EPOCH": ["TREATMENT"],
            "DSSTDTC": ["2020-03-01"],
            "DSSTDY": [52.0],
        },
        "EX": {
            **two,
            "DOMAIN": ["EX"] * 2,
            "EXSEQ": [1.0, 1.0],
            "EXTRT": ["DRUG"] * 2,
            "EXDOSE": [10.0, 10.0],
            "EXDOSU": ["mg"] * 2,
            "EXDOSFRM": ["TABLET"] * 2,
            "EXDOSFRQ": ["QD"] * 2,
            "EXROUTE": ["ORAL"] * 2,
            "EPOCH": ["TREATMENT"] * 2,
            "EXSTDTC": ["2020-01-10"] * 2,
            "EXENDTC": ["2020-02-28"] * 2,
            "EXSTDY": [1.0, 1.0],
            "EXENDY": [50.0, 50.0],
        },
        "LB": {
            **two,
            "DOMAIN": ["LB"] * 2,
            "LBSEQ": [1.0, 1.0],
            "LBTESTCD": ["ALB", "GLUC"],
            "LBTEST": ["Albumin", "Glucose"],
            "LBCAT": ["CHEMISTRY"] * 2,
            "LBORRES": ["40", "5"],
            "LBORRESU": ["g/L", "mmol/L"],
            "LBORNRLO": ["35", "4"],
            "LBORNRHI": ["50", "6"],
            "LBSTRESC": ["40", "5"],
            "LBSTRESN": [40.0, 5.0],
            "LBSTRESU": ["g/L", "mmol/L"],
            "LBSTNRLO": [35.0, 4.0],
            "LBSTNRHI": [50.0, 6.0],
            "LBNRIND": ["NORMAL"] * 2,
            "LBSTAT": [None] * 2,
            "LBREASND": [None] * 2,
            "LBLOBXFL": ["Y", "Y"],
            "LBDRVFL": [None] * 2,
            "VISITNUM": [1.0, 1.0],
            "VISIT": ["SCREENING"] * 2,
            "VISITDY": [-8.0, -8.0],
            "EPOCH": ["SCREENING"] * 2,
            "LBDTC": ["2020-01-02"] * 2,
            "LBDY": [-8.0, -8.0],
        },
        "SV": {
            **two,
            "DOMAIN": ["SV"] * 2,
            "VISITNUM": [1.0, 1.0],
            "VISIT": ["SCREENING"] * 2,
            "SVPRESP": ["Y"] * 2,
            "SVOCCUR": ["Y"] * 2,
            "SVREASOC": [None] * 2,
            "SVCNTMOD": [None] * 2,
            "SVEPCHGI": [None] * 2,
            "VISITDY": [-8.0, -8.0],
            "SVSTDTC": ["2020-01-02"] * 2,
            "SVENDTC": ["2020-01-02"] * 2,
            "SVSTDY": [-8.0] * 2,
            "SVENDY": [-8.0] * 2,
        },
        "SE": {
            "STUDYID": ["S"] * 2,
            "DOMAIN": ["SE"] * 2,
            "USUBJID": ["S-1"] * 2,
            "SESEQ": [1.0, 2.0],
            "ETCD": ["SCRN", "TRT"],
            "ELEMENT": ["Screen", "Treat"],
            "TAETORD": [1.0, 2.0],
            "EPOCH": ["SCREENING", "TREATMENT"],
            "SESTDTC": ["2020-01-02", "2020-01-10"],
            "SEENDTC": ["2020-01-10", "2020-03-01"],
            "SEUPDES": [None] * 2,
        },
        "TA": {
            "STUDYID": ["S"] * 2,
            "DOMAIN": ["TA"] * 2,
            "ARMCD": ["A"] * 2,
            "ARM": ["Arm A"] * 2,
            "TAETORD": [1.0, 2.0],
            "ETCD": ["SCRN", "TRT"],
            "ELEMENT": ["Screen", "Treat"],
            "TABRANCH": ["x", None],
            "TATRANS": [None, None],
            "EPOCH": ["SCREENING", "TREATMENT"],
        },
        "TE": {
            "STUDYID": ["S"] * 2,
            "DOMAIN": ["TE"] * 2,
            "ETCD": ["SCRN", "TRT"],
            "ELEMENT": ["Screen", "Treat"],
            "TESTRL": ["consent", "first dose"],
            "TEENRL": ["first dose", "last visit"],
            "TEDUR": [None, None],
        },
        "TV": {
            "STUDYID": ["S"],
            "DOMAIN": ["TV"],
            "VISITNUM": [1.0],
            "VISIT": ["SCREENING"],
            "VISITDY": [-8.0],
            "ARMCD": [None],
            "ARM": [None],
            "TVSTRL": ["consent"],
        },
        "TI": {
            "STUDYID": ["S"],
            "DOMAIN": ["TI"],
            "IETESTCD": ["INCL01"],
            "IETEST": ["Adult"],
            "IECAT": ["INCLUSION"],
        },
        "IE": {
            **one,
            "DOMAIN": ["IE"],
            "IESEQ": [1.0],
            "IETESTCD": ["INCL01"],
            "IETEST": ["Adult"],
            "IECAT": ["INCLUSION"],
            "IEORRES": ["N"],
            "IESTRESC": ["N"],
            "IEDTC": ["2020-01-02"],
            "IEDY": [-8.0],
        },
        "TS": {
            "STUDYID": ["S"] * len(ts),
            "DOMAIN": ["TS"] * len(ts),
            "TSSEQ": [1.0] * len(ts),
            "TSPARMCD": list(ts),
            "TSPARM": [terminology.decode("TSPARMCD").get(code, code) for code in ts],
            "TSVAL": list(ts.values()),
            "TSVALNF": [None] * len(ts),
            "TSVALCD": [None] * len(ts),
            "TSVCDREF": [None] * len(ts),
            "TSVCDVER": [None] * len(ts),
        },
        "SUPPAE": {
            **one,
            "RDOMAIN": ["AE"],
            "IDVAR": ["AESEQ"],
            "IDVARVAL": ["1"],
            "QNAM": ["AEXTRA"],
            "QLABEL": ["Something More"],
            "QVAL": ["x"],
            "QORIG": ["CRF"],
            "QEVAL": [None],
        },
        "RELREC": {
            "STUDYID": ["S"] * 2,
            "RDOMAIN": ["AE", "CM"],
            "USUBJID": ["S-1"] * 2,
            "IDVAR": ["AESEQ", "CMSEQ"],
            "IDVARVAL": ["1", "1"],
            "RELTYPE": [None] * 2,
            "RELID": ["R1"] * 2,
        },
    }


def fresh() -> Tables:
    return {name: {key: list(cells) for key, cells in columns.items()} for name, columns in base().items()}


def built(tables: Tables) -> Study:
    found = []
    for name, columns in tables.items():
        made = dataset(name, columns)
        guide = {each: sdtm.variable(name, each) for each in columns}
        about = {
            each: About((spec.label if spec else each)[:40], made.about[each].type) for each, spec in guide.items()
        }
        found.append(Dataset(name, made.table, made.label, made.file, 100, about))
    return Study(found)


@cache
def rules() -> dict[str, Rule]:
    return {each.id: each for each in own.rules()}


def run(tables: Tables, wanted: str) -> list[Outcome]:
    engine = Engine(built(tables))
    return [found for rule in rules().values() if rule.message == wanted and (found := engine.run(rule)).faults]


def test_the_study_is_clean() -> None:
    engine = Engine(built(base()))
    outcomes = [engine.run(rule) for rule in rules().values()]
    assert {each.rule.id: each.errors for each in outcomes if each.errors} == {}
    flagged = {
        each.rule.id: (each.rule.message, [f.dataset.name for f in each.faults]) for each in outcomes if each.faults
    }
    flagged.pop("FS-STRUCT-006")  # the tables above are not in the order of the standard
    assert flagged == {}


# dataset, variable, row, the cell that is put there, and the message of the rule that must find it
SEEDS: list[tuple[str, str, int, Any, str]] = [
    ("DM", "RFENDTC", 0, "2020-01-01", "The reference period ends before it starts"),
    ("DM", "AGE", 0, -1.0, "The age is negative"),
    ("DM", "AGE", 0, 150.0, "The age is more than 120 years"),
    ("DM", "AGEU", 0, None, "The age has no unit"),
    ("DM", "DTHDTC", 0, "2020-03-01", "There is a date of death, but no flag"),
    ("DM", "DTHFL", 0, "N", "The flag of death is neither Y nor empty"),
    ("DM", "ARMCD", 0, None, "There is an arm without its code"),
    ("DM", "ARMCD", 0, "B", "ARMCD is none of the arms of TA"),
    ("DM", "ACTARM", 0, "Other", "ACTARM is none of the arms of TA"),
    ("DM", "ARM", 0, "Other", "The code of an arm has another name in an earlier record"),
    ("DM", "USUBJID", 0, "S-2", "A subject has several records"),
    ("DM", "STUDYID", 1, "T", "The subjects are of more than one study"),
    ("DM", "DTHFL", 1, None, "An adverse event was fatal, but the subject has no flag of death"),
    ("DM", "DTHDTC", 1, None, "The subject died, but the date is not given"),
    ("DM", "BRTHDTC", 0, "2021", "The subject was born after the start of the reference period"),
    ("DM", "RFICDTC", 0, "2020-02-01", "Consent is after the first exposure"),
    ("DM", "COUNTRY", 0, "Germany", "The country is no code of three letters (ISO 3166-1)"),
    ("DM", "RFXSTDTC", 0, "2020-01-11", "RFXSTDTC is not the first start of exposure in EX"),
    ("AE", "AEENDTC", 0, "2020-01-19", "The record ends before it starts"),
    ("AE", "AEENDY", 0, 2.0, "The day of the end is before that of the start"),
    ("AE", "AESDTH", 0, "Y", "AESDTH is Y, but the event is not serious"),
    ("AE", "AESER", 0, "yes", "AESER is neither Y nor N"),
    ("AE", "AESER", 0, None, "It is not said whether the event is serious"),
    ("AE", "AEOUT", 0, "FATAL", "The outcome is fatal, but AESDTH is not Y"),
    ("AE", "AEOUT", 0, "FATAL", "The event was fatal, but the subject has no date of death"),
    ("AE", "AEENRTPT", 0, "ONGOING", "The event is ongoing, and has a date of its end"),
    ("AE", "AEENRTPT", 0, "ONGOING", "--ENRTPT is filled without --ENTPT"),
    ("AE", "AESTDTC", 1, "2020-03-02", "The record starts after the death of the subject"),
    ("AE", "AESTDTC", 0, "2020-01-01", "The event started before consent: it may belong into MH"),
    ("AE", "AEPTCD", 0, 2.0, "A preferred term has several codes, or a code several terms"),
    ("AE", "AETERM", 0, "OTHER", "--TERM is OTHER, which names nothing"),
    ("AE", "AESTDY", 0, 10.0, "--STDY is not the day of --STDTC counted from RFSTDTC"),
    ("AE", "AESTDY", 0, 0.0, "There is no study day 0"),
    ("AE", "EPOCH", 0, "WASHOUT", "The epoch is none of TA"),
    ("AE", "EPOCH", 0, "SCREENING", "The epoch is another than that of the element of SE in which the record starts"),
    ("AE", "USUBJID", 0, "S-9", "The subject is not in DM"),
    ("AE", "STUDYID", 0, "T", "The study is another than in DM"),
    ("AE", "AETERM", 0, " headache", "A text starts with a blank"),
    ("AE", "AETERM", 0, ".", "A missing text is written as a full stop"),
    ("AE", "AETERM", 0, "Übelkeit", "A text has characters that are not ASCII"),
    ("CM", "CMDOSE", 0, -1.0, "--DOSE is negative"),
    ("CM", "CMDOSU", 0, None, "The dose has no unit"),
    ("CM", "CMDOSTXT", 0, "100", "The dose is given as a number and as a text"),
    ("DS", "DSDECOD", 0, "DEATH", "The disposition is completed, but DSDECOD is another"),
    ("EX", "EXENDTC", 0, "2020-03-01", "The exposure ends after the last exposure in DM"),
    ("LB", "LBSTAT", 0, "NOT DONE", "The test was not done, but there is a result"),
    ("LB", "LBORRES", 0, None, "There is no result, and the test is not marked as not done or derived"),
    ("LB", "LBORRESU", 0, None, "The standardised result has a unit, but the original has none"),
    ("LB", "LBSTRESC", 0, None, "There is a result, but no standardised one"),
    ("LB", "LBSTRESN", 0, None, "The standardised result is a number, but --STRESN is empty"),
    ("LB", "LBSTRESN", 0, 41.0, "--STRESC and --STRESN are different numbers"),
    ("LB", "LBSTRESC", 0, "many", "--STRESN is filled, but --STRESC is no number"),
    ("LB", "LBTEST", 0, "Glucose", "The test has another code in an earlier record"),
    ("LB", "LBSTNRLO", 0, 60.0, "The lower limit of the range is above the upper"),
    ("LB", "LBSTRESN", 0, 30.0, "The result is below the range, but is marked as normal"),
    ("LB", "LBNRIND", 0, "HIGH", "The result is marked as high, but is below the upper limit"),
    ("LB", "LBLOBXFL", 0, "N", "--LOBXFL is neither Y nor empty"),
    ("LB", "LBDTC", 0, "2020-02-02", "The last observation before exposure is after the first exposure"),
    ("LB", "VISITNUM", 0, 7.0, "The visit is none of the subject in SV"),
    ("LB", "VISITDY", 0, 7.0, "The planned day is another than in TV"),
    ("SE", "SEENDTC", 0, "2020-01-09", "The element does not end where the next starts"),
    ("SE", "ETCD", 0, "OTHER", "The element is none of TE"),
    ("SE", "ELEMENT", 0, "Other", "The element has another name in TE"),
    ("TA", "ELEMENT", 0, "Other", "The element has another name in TE"),
    ("TA", "TAETORD", 1, 1.0, "Two elements of an arm have the same place"),
    ("IE", "IEORRES", 0, "Y", "An inclusion criterion is recorded that is met"),
    ("IE", "IETESTCD", 0, "INCL09", "The criterion is none of TI"),
    ("TS", "TSPARMCD", 0, "OTHER", "The parameter ADDON is not given"),
    ("TS", "TSVAL", 0, None, "The parameter has neither a value nor a reason for having none"),
    ("TS", "TSVAL", 1, "65 years", "The value of AGEMAX is no duration of ISO 8601"),
    ("SUPPAE", "IDVARVAL", 0, "9", "The record that the qualifier belongs to is not there"),
    ("SUPPAE", "RDOMAIN", 0, "MH", "The related domain is not in the study"),
    ("SUPPAE", "QNAM", 0, "9X", "QNAM is no name of a variable"),
    ("SUPPAE", "QNAM", 0, "AELOC", "The qualifier has the name of a variable that the domain may have"),
    ("SUPPAE", "QVAL", 0, None, "A qualifier has no value"),
    ("RELREC", "RELID", 0, "R2", "The relationship has only one record"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "variable", "row", "cell", "message"), SEEDS)
def test_a_fault_is_found(*, name: str, variable: str, row: int, cell: Any, message: str) -> None:
    tables = fresh()
    tables[name][variable][row] = cell
    assert run(tables, message)


@pytest.mark.parametrize(
    ("reference", "start", "wrong"),
    [
        ("2020-01-10T22:30:00-05:00", "2020-01-10T22:30:00-05:00", False),
        ("2020-01-10T22:30:00-05:00", "2020-01-11T03:30:00Z", False),
        ("2020-01-10T22:30:00.250-05:00", "2020-01-10T22:30:00.250-05:00", False),
        ("2020-01-10T22:30:00-05:00", "2020-01-10T22:31:00-05:00", True),
        ("2020-01-10T22:30:00-05:00", "2020-01-10T22:30:00Z", True),
        (None, "2020-01-10T22:30:00-05:00", True),
        ("2020-01-10T22:30:00-05:00", None, True),
    ],
)
def test_the_first_exposure_is_the_same_moment(reference: str | None, start: str | None, wrong: bool) -> None:
    tables = fresh()
    tables["DM"]["RFXSTDTC"] = [reference] * len(tables["DM"]["USUBJID"])
    tables["EX"]["EXSTDTC"] = [start] * len(tables["EX"]["USUBJID"])
    assert bool(run(tables, "RFXSTDTC is not the first start of exposure in EX")) == wrong


@pytest.mark.parametrize(("cell", "found"), [("Y", False), ("N", True), (None, True)])
def test_a_serious_event_meets_a_criterion(cell: str | None, *, found: bool) -> None:
    tables = fresh()
    for name in ("AESCONG", "AESDISAB", "AESHOSP", "AESLIFE", "AESMIE"):
        tables["AE"][name] = ["N", "N"]
    tables["AE"]["AESER"] = ["N", "Y"]
    tables["AE"]["AESDTH"] = ["N", cell]
    assert bool(run(tables, "The event is serious, but none of the criteria is Y")) == found


MISSING = [
    ("AE", "AESER", "An expected variable is not there"),
    ("AE", "AEDECOD", "A required variable is not there"),
]


@pytest.mark.parametrize(("name", "variable", "message"), MISSING)
def test_a_variable_that_is_not_there_is_found(name: str, variable: str, message: str) -> None:
    tables = fresh()
    del tables[name][variable]
    assert run(tables, message)


@pytest.mark.parametrize("name", ["DM", "TS", "TA", "TE", "SE"])
def test_a_dataset_that_is_not_there_is_found(name: str) -> None:
    assert run({key: value for key, value in base().items() if key != name}, f"The study has no dataset {name}")


def test_a_variable_of_no_standard_is_found() -> None:
    tables = fresh()
    tables["AE"]["AEFOO"] = ["x", "y"]
    assert run(tables, "The variable is none that the model allows in the dataset")
