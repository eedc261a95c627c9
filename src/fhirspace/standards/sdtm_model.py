"""Variables that SDTM 2.0 itself defines for the general observation classes, in its order, and datasets of its own.

Source: CDISC SDTM 2.0, section 3: names and roles only, compared with the lists of variables, in the order of the
model, in the template for test data of the CDISC Open Rules. What a guide adds or leaves out is in `sdtm`. A few
variables are in 2.0 but not in 1.7, the model of SDTMIG 3.3.
"""

from __future__ import annotations

from functools import cache


def _names(text: str) -> list[str]:
    return text.split()


IDENTIFIERS = _names(
    "STUDYID DOMAIN USUBJID POOLID SPDEVID NHOID FETUSID FOCID --SEQ --GRPID --REFID --RECID --SPID --LNKID "
    "--LNKGRP --BEATNO"
)
PERSONS = ["APID", "RSUBJID", "RDEVID", "SREL"]
"""Identifiers of associated persons' data, which have no USUBJID."""
TIMING = _names(
    "VISITNUM VISIT VISITDY TAETORD EPOCH RPHASE RPPLDY RPPLSTDY RPPLENDY --DTC --STDTC --ENDTC --DY --STDY "
    "--ENDY --NOMDY --NOMLBL --RPDY --RPSTDY --RPENDY --XDY --XSTDY --XENDY --CHDY --CHSTDY --CHENDY --DUR "
    "--TPT --TPTNUM --ELTM --TPTREF --RFTDTC --STRF --ENRF --EVLINT --EVINTX --STRTPT --STTPT --ENRTPT "
    "--ENTPT MIDS RELMIDS MIDSDTC --STINT --ENINT --DETECT --PTFL --PDUR"
)
NEW = frozenset(
    _names("--XDY --XSTDY --XENDY --CHDY --CHSTDY --CHENDY --PTFL --PDUR --REASOC --CNTMOD --EPCHGI SVPRESP SVOCCUR")
)
"""Variables that SDTM 1.7 (SDTMIG 3.3) does not have."""
CLASSES = {
    "INTERVENTIONS": _names(
        "--TRT --MODIFY --DECOD --MOOD --CAT --SCAT --PRESP --OCCUR --REASOC --STAT --REASND --CNTMOD --EPCHGI "
        "--INDC --CLAS --CLASCD --DOSE --DOSTXT --DOSU --TDOSD --FTDOSD --DOSFRM --DOSFRQ --DOSTOT --DOSRGM --ROUTE "
        "--LOT --LOC --METHOD --LAT --DIR --PORTOT --FAST --PSTRG --PSTRGU --TRTV --VAMT --VAMTU --ADJ --RSDISC "
        "--USCHFL --RSTIND --RSTMOD"
    ),
    "EVENTS": _names(
        "--TERM --MODIFY --LLT --LLTCD --DECOD --EVDTYP --PTCD --HLT --HLTCD --HLGT --HLGTCD --CAT --SCAT --PRESP "
        "--OCCUR --REASOC --STAT --REASND --BODSYS --BDSYCD --SOC --SOCCD --CNTMOD --EPCHGI --LOC --LAT --DIR "
        "--PORTOT --PARTY --PRTYID --SEV --SER --ACN --ACNOTH --ACNDEV --REL --RLDEV --RELNST --PATT --OUT --SCAN "
        "--SCONG --SDISAB --SDTH --SHOSP --SLIFE --SOD --SMIE --SINTV --UNANT --RLPRT --RLPRC --CONTRT --TOX "
        "--TOXGR --USCHFL"
    ),
    "FINDINGS": _names(
        "--TESTCD --TEST --SBMRKS --CELSTA --CSMRKS --CNTMOD --EPCHGI --TSTCND --CNDAGT --BDAGNT --ABCLID "
        "--MRKSTR --GATE --GATDEF --TSTOPO --MSCBCE --AGENT --CONC --CONCU --MODIFY --TSTDTL --SPTSTD --CAT "
        "--SCAT --TSTPNL --POS --BODSYS --ORRES --ORRESU --RESSCL --RESTYP --COLSRT --ORNRLO --ORNRHI --ORREF "
        "--LLOD --STRESC --IMPLBL --STRESN --STRESU --STNRLO --STNRHI --STNRC --STREFC --STREFN --NRIND --RESCAT "
        "--INHERT --GENREF --CHROM --SYM --SYMTYP --GENLOC --GENSR --SEQID --PVRID --COPYID --CHRON --DISTR "
        "--RESLOC --STAT --REASND --XFN --NAM --LOINC --SPEC --ANTREG --SPCCND --SPCUFL --LOC --LAT --DIR "
        "--PORTOT --METHOD --RUNID --ANMETH --TMTHSN --LEAD --CSTATE --LOBXFL --BLFL --FAST --DRVFL --EVAL "
        "--EVALID --ACPTFL --TOX --TOXGR --SEV --CLSIG --DTHREL --LLOQ --ULOQ --REASPF --EXCLFL --REASEX --USCHFL "
        "--REPNUM --RSTIND --RSTMOD"
    ),
}
"""Topic and qualifiers by class; findings about have --OBJ after --TEST."""
DATASETS = {
    "TX": ("TRIAL DESIGN", _names("STUDYID DOMAIN SETCD SET TXSEQ TXPARMCD TXPARM TXVAL")),
    "TT": ("TRIAL DESIGN", _names("STUDYID DOMAIN RSTGCD RSTAGE RPATHCD RPATH TTORD")),
    "TP": ("TRIAL DESIGN", _names("STUDYID DOMAIN RPATHCD RPATH TPSTGORD RSTGCD RSTAGE TPBRANCH RPHASE")),
    "SJ": ("SPECIAL PURPOSE", _names("STUDYID DOMAIN USUBJID SJSEQ RSTGCD RSTAGE SJSTDTC SJENDTC RPHASE")),
    "POOLDEF": ("RELATIONSHIP", ["STUDYID", "POOLID", "USUBJID"]),
    "RELREF": ("RELATIONSHIP", _names("STUDYID USUBJID REFID SPEC PARENT LEVEL LVLDESC")),
    "APRELSUB": ("RELATIONSHIP", ["STUDYID", "APID", "RSUBJID", "SREL"]),
    "DI": ("STUDY REFERENCE", _names("STUDYID DOMAIN SPDEVID DISEQ DIPARMCD DIPARM DIVAL")),
}
"""Datasets of the model that SDTMIG 3.4 does not have: their class and variables."""
DEMOGRAPHICS = _names("SETCD SPECIES STRAIN SBSTRAIN RPATHCD")
"""Variables of DM that the guide leaves to nonclinical data."""


@cache
def general(klass: str, *, persons: bool = False, newest: bool = True) -> tuple[str, ...]:
    """The variables of a general observation class with ``--`` for the prefix, in the model's order; () for others.

    Args:
        klass: its name in capitals. persons: as for associated persons. newest: SDTM 2.0, else 1.7.
    """
    parts = partition(klass, newest=newest)
    identifiers = [name for name in (*parts[0], *PERSONS) if name != "USUBJID"] if persons else parts[0]
    return (*identifiers, *parts[1], *parts[2]) if parts[1] else ()


def partition(klass: str, *, newest: bool = True) -> tuple[list[str], list[str], list[str]]:
    """Identifiers, the class's own variables (none: no such class) and timing variables."""
    own = list(CLASSES.get("FINDINGS" if klass == "FINDINGS ABOUT" else klass, ()))
    if klass == "FINDINGS ABOUT":
        own.insert(own.index("--TEST") + 1, "--OBJ")
    own, timing = ([name for name in part if newest or name not in NEW] for part in (own, TIMING))
    return IDENTIFIERS, own, timing
