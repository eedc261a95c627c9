"""Codes of outer standards: countries (ISO 3166-1), currencies (ISO 4217) and media types (RFC 6838)."""

from __future__ import annotations

import re
from typing import Final

from fhirspace.fhir.validation.values.words import words
from fhirspace.remember import remembered
from fhirspace.standards.countries import ALPHA_3

CURRENCIES: Final = words("""
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BYR BZD CAD
    CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP
    GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK
    LBP LKR LRD LSL LTL LYD MAD MDL MGA MKD MMK MNT MOP MRO MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD
    OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STD STN SVC
    SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VEF VES VND VUV WST XAF XAG XAU
    XBA XBB XBC XBD XCD XCG XDR XOF XPD XPF XPT XSU XTS XUA XXX YER ZAR ZMW ZWG ZWL
    """)
"""The codes of ISO 4217 in force since 2014, when FHIR began to list them."""
_ALPHA_2: Final = words("""
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """)
"""The codes of ISO 3166-1 of two letters."""
_NUMERIC: Final = re.compile(r"[0-9]{3}")
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9!#$&\-^_.+]{0,126}"
_PARAMETER: Final = rf";\s*{_NAME}\s*=[^;\x00-\x1f]*"
_MEDIA: Final = re.compile(rf"{_NAME}(?:/{_NAME})?\s*(?:{_PARAMETER})*", re.ASCII)
_LONGEST: Final = 1000


@remembered
def media_type(text: str) -> bool:
    """Whether a text is a media type: ``text/plain``, ``application/fhir+json; fhirVersion=4.0``.

    FHIR's short names of its own formats (``json``, ``xml``) are codes of that value set as well, so that a name alone
    passes.
    """
    return len(text) <= _LONGEST and _MEDIA.fullmatch(text) is not None


def country(text: str) -> bool:
    """Whether a text is a code of ISO 3166-1: two or three capital letters, or three digits, as in HL7's value sets."""
    return text in _ALPHA_2 or text in ALPHA_3 or _NUMERIC.fullmatch(text) is not None
