"""Codes of outer standards: currencies (ISO 4217) and media types (RFC 6838)."""

from __future__ import annotations

import re
from typing import Final

from fhirspace.fhir.validation.values.words import words
from fhirspace.remember import remembered

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
