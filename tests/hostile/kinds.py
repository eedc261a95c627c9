"""What a kind of input is, and two datasets that several of them begin with."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.hostile.broken import Form

Files = dict[str, bytes]
DM = b"""STUDYID,DOMAIN,USUBJID,SUBJID,SITEID,SEX,ARMCD,ARM,ACTARMCD,ACTARM,COUNTRY,RFICDTC,AGE
TINY,DM,TINY-1,1,10,F,A,Arm A,A,Arm A,AUS,2024-01-02,44
TINY,DM,TINY-2,2,10,M,A,Arm A,A,Arm A,AUS,2024-01-03,61
"""
AE = b"""STUDYID,DOMAIN,USUBJID,AESEQ,AETERM,AEDECOD,AESEV,AESER,AESTDTC
TINY,AE,TINY-1,1,Headache,Headache,MILD,N,2024-02-01
TINY,AE,TINY-1,2,Rash,Rash,MODERATE,N,2024-02
TINY,AE,TINY-2,1,Fall,Fall,SEVERE,Y,2024-03-01T10:20
"""

_PACKED: dict[Form, Callable[[bytes], bytes]] = {
    "gzip": partial(gzip.compress, mtime=0),
    "archive": partial(gzip.compress, mtime=0),
    "zlib": zlib.compress,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of input.

    Args:
        form: how its bytes are broken. target: the file that is broken.
        files: a right input. commands: what reads it, with ``{in}`` for its folder and ``{out}`` for a new one.
        quick: how many of the commands are run in the default suite: the first ones, which cost little.
        few: whether it is read beside a few of the shipped mappings only (in the default suite everything is): beside
            a mapping all of them are built anew for each variant, and tables are read in processes of their own.
        tolerant: whether what cannot be read of it does no harm, and is passed over.
    """

    form: Form
    target: str
    files: Callable[[], Files]
    commands: tuple[str, ...]
    quick: int = 1
    tolerant: bool = False
    few: bool = False

    def packed(self, name: str, content: bytes) -> bytes:
        """A right file as it lies in the folder."""
        pack = _PACKED.get(self.form) if name == self.target else None
        return pack(content) if pack else content
