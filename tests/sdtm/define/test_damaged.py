"""Files with parts removed, repeated or changed at random: read or refused, compared, and written valid again."""

import copy
import random

import pytest

from fhirspace.errors import InputError
from fhirspace.sdtm.define import agreement, making
from fhirspace.sdtm.define.document import reading, writing
from fhirspace.sdtm.define.making import Known
from fhirspace.sdtm.define.merging import merged
from tests.sdtm.define.test_agreement import AE, package
from tests.sdtm.define.test_making import VS, dataset, made
from tests.support.define_schema import faults

etree = pytest.importorskip("lxml.etree")
JUNK = ["", " ", "0", "-1", "99999999999", "x" * 300, "é\u202e", "NaN", "integer", "IT.AE.AETERM", "CL.NY", "\t\n"]


def damaged(seed: int) -> bytes:
    chance, root = random.Random(seed), etree.fromstring(writing.as_bytes(made(AE=AE, VS=VS)))
    for _ in range(chance.randint(1, 12)):
        elements = list(root.iter())[1:]
        if not elements:
            break
        element, act = chance.choice(elements), chance.random()
        if act < 0.3:
            element.getparent().remove(element)
        elif act < 0.5:
            element.getparent().append(copy.deepcopy(element))
        elif act < 0.9 and element.attrib:
            name = chance.choice(list(element.attrib))
            element.set(name, chance.choice(JUNK)) if act < 0.8 else element.attrib.pop(name)
        else:
            element.text = chance.choice(JUNK)
    return etree.tostring(root)


@pytest.mark.parametrize("seed", [*range(20), 138, 158, 226])
def test_damage(seed):
    try:
        define = reading.parse(damaged(seed), "define.xml")
    except InputError:
        return
    tables = package()[1]
    list(agreement.check(define, tables))
    written = {name: dataset(name, cells) for name, cells in (("AE", AE), ("VS", VS))}
    now = merged(making.make(written, Known(taken=define.oids())), define)
    assert faults(writing.as_bytes(now)) == []
    group = now.dataset("AE")
    assert group and {item.name for _, item in now.variables(group)} >= set(AE)
