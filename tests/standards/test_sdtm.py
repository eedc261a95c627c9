import pytest

from fhirspace.errors import UsageError
from fhirspace.standards import sdtm, sdtm_model


def test_every_dataset_of_the_guide_is_there_with_its_variables_in_order():
    assert sdtm.version() == "3.4"
    assert len(sdtm.domains()) == 63
    assert sum(len(sdtm.domain(name).variables) for name in sdtm.domains()) == 1917
    for name in sdtm.domains():
        orders = [variable.order for variable in sdtm.domain(name).variables]
        assert orders == sorted(set(orders)), name


def test_a_variable_tells_its_type_core_and_codelists():
    sex = sdtm.domain("DM").variable("SEX")
    assert sex is not None
    assert (sex.label, sex.type, sex.core, sex.codelists) == ("Sex", "Char", "Req", ("C66731",))
    assert getattr(sdtm.domain("LB").variable("LBSTRESN"), "type", None) == "Num"
    assert sdtm.domain("DM").variable("SHOE") is None


@pytest.mark.parametrize("name", sdtm.domains())
def test_natural_keys_are_standard_variables_and_start_with_study(name):
    keys = sdtm.domain(name).keys
    legal = {variable.name for variable in sdtm.standard_variables(name)}
    assert set(keys) <= legal
    assert len(set(keys)) == len(keys)
    assert keys[:1] == (("STUDYID",) if "STUDYID" in legal else keys[:1])


@pytest.mark.parametrize(
    ("name", "prefix"), [("LB", "LB"), ("QSPH", "QS"), ("SE", "SE"), ("DM", ""), ("TV", ""), ("TS", "TS")]
)
def test_prefix(name, prefix):
    assert sdtm.domain(name).prefix == prefix


def test_supplemental_and_split_datasets_take_their_base_specification():
    supp = sdtm.domain("SUPPAE")
    assert (supp.name, supp.label) == ("SUPPAE", "Supplemental Qualifiers for AE")
    assert supp.names == (
        "STUDYID", "RDOMAIN", "USUBJID", "IDVAR", "IDVARVAL", "QNAM", "QLABEL", "QVAL", "QORIG", "QEVAL",
    )  # fmt: skip
    assert sdtm.domain("QSPH").names == sdtm.domain("QS").names
    assert sdtm.domain("SUPPQSPH").klass == "Relationship"


@pytest.mark.parametrize("name", ["DI", "lb", "DMX", "XBA", "xb", "SUPP", "LBLONG", ""])
def test_an_unknown_dataset_is_refused(name):
    assert not sdtm.known(name)
    with pytest.raises(UsageError) as caught:
        sdtm.domain(name)
    assert caught.value.code == "FS701"


def test_a_sponsors_own_domain_has_what_the_general_classes_lend():
    own = sdtm.domain("XB")
    assert (own.names, own.prefix) == (("STUDYID", "DOMAIN", "USUBJID", "XBSEQ"), "XB")
    names = [variable.name for variable in sdtm.standard_variables("XB")]
    assert names[:4] == list(own.names)
    assert {"XBTESTCD", "XBTRT", "XBTERM", "XBORRES", "XBDOSE", "XBSTDTC", "VISITNUM"} <= set(names)
    assert not any(variable.codelists for variable in sdtm.standard_variables("XB"))
    assert "XB" not in sdtm.domains()


def test_the_class_lends_its_variables_in_the_part_they_belong_to():
    names = [variable.name for variable in sdtm.standard_variables("LB")]
    assert [name for name in names if name in sdtm.domain("LB").names] == list(sdtm.domain("LB").names)
    assert names.index("LBLNKID") < names.index("LBTESTCD") < names.index("LBREPNUM") < names.index("VISITNUM")
    assert names.index("LBENDY") < names.index("LBSTRTPT") < names.index("MIDS")
    assert getattr(sdtm.variable("LB", "LBLNKID"), "core", None) == "Perm"
    assert sdtm.variable("LB", "SHOESIZE") is None


def test_a_class_without_general_variables_lends_none():
    assert [variable.name for variable in sdtm.standard_variables("DM")] == list(sdtm.domain("DM").names)


@pytest.mark.parametrize("name", [each for each in sdtm.domains() if sdtm.domain(each).klass in sdtm.GENERAL_CLASSES])
def test_variables_are_in_the_order_of_the_model(name):
    """SDTMIG 3.4, section 4.1.4: those that the class lends are among the dataset's own."""
    model = [each.replace("--", name) for each in sdtm_model.general(sdtm.domain(name).klass.upper())]
    known = [each.name for each in sdtm.standard_variables(name) if each.name in model]
    assert known == sorted(known, key=model.index)
