"""Which texts are codes of UCUM: a grammar over its prefixes and unit symbols. What a unit measures: see `ucum`.

Source: The Unified Code for Units of Measure 2.1, sections 2 (grammar) and 4 (tables), case-sensitive symbols.
"""

from __future__ import annotations

import re
from typing import Final

from fhirspace.remember import remembered

_PREFIX_SYMBOLS: Final = "Q R Y Z E P T G M k h da d c m u n p f a z y r q Ki Mi Gi Ti"
_METRIC_SYMBOLS: Final = """
    m s g rad K C cd mol sr Hz N Pa J W A V F Ohm S Wb Cel T H lm lx Bq Gy Sv l L ar t bar u eV pc [c] [h] [k]
    [eps_0] [mu_0] [e] [m_e] [m_p] [G] [g] [ly] gf Ky Gal dyn erg P Bi St Mx G Oe Gb sb Lmb ph Ci R RAD REM
    cal_[15] cal_[20] cal_m cal_IT cal_th cal tex m[H2O] m[Hg] eq osm g% kat U [iU] [IU] Np B B[SPL] B[V]
    B[mV] B[uV] B[10.nV] B[W] B[kW] st mho bit By Bd
    """
_PLAIN_SYMBOLS: Final = """
    10* 10^ [pi] % [ppth] [ppm] [ppb] [pptr] gon deg ' '' min h d a_t a_j a_g a wk mo_s mo_j mo_g mo AU atm
    [lbf_av] [in_i] [ft_i] [yd_i] [mi_i] [fth_i] [nmi_i] [kn_i] [sin_i] [sft_i] [syd_i] [cin_i] [cft_i]
    [cyd_i] [bf_i] [cr_i] [mil_i] [cml_i] [hd_i] [ft_us] [yd_us] [in_us] [rd_us] [ch_us] [lk_us] [rch_us]
    [rlk_us] [fth_us] [fur_us] [mi_us] [acr_us] [srd_us] [smi_us] [sct] [twp] [mil_us] [in_br] [ft_br] [rd_br]
    [ch_br] [lk_br] [fth_br] [pc_br] [yd_br] [mi_br] [nmi_br] [kn_br] [acr_br] [gal_us] [bbl_us] [qt_us]
    [pt_us] [gil_us] [foz_us] [fdr_us] [min_us] [crd_us] [bu_us] [gal_wi] [pk_us] [dqt_us] [dpt_us] [tbs_us]
    [tsp_us] [cup_us] [foz_m] [cup_m] [tsp_m] [tbs_m] [gal_br] [pk_br] [bu_br] [qt_br] [pt_br] [gil_br]
    [foz_br] [fdr_br] [min_br] [gr] [lb_av] [oz_av] [dr_av] [scwt_av] [lcwt_av] [ston_av] [lton_av] [stone_av]
    [pwt_tr] [oz_tr] [lb_tr] [sc_ap] [dr_ap] [oz_ap] [lb_ap] [oz_m] [lne] [pnt] [pca] [pnt_pr] [pca_pr] [pied]
    [pouce] [ligne] [didot] [cicero] [degF] [degR] [Cal] [Btu_39] [Btu_59] [Btu_60] [Btu_m] [Btu_IT] [Btu_th]
    [Btu] [HP] [den] [in_i'H2O] [in_i'Hg] [PRU] [wood'U] [diop] [p'diop] %[slope] [mesh_i] [Ch] [drp] [hnsf'U]
    [MET] [hp'_X] [hp'_C] [hp'_M] [hp'_Q] [hp_X] [hp_C] [hp_M] [hp_Q] [kp_X] [kp_C] [kp_M] [kp_Q] [pH] [S]
    [HPF] [LPF] [arb'U] [USP'U] [GPL'U] [MPL'U] [APL'U] [beth'U] [anti'Xa'U] [todd'U] [dye'U] [smgy'U]
    [bdsk'U] [ka'U] [knk'U] [mclg'U] [tb'U] [CCID_50] [TCID_50] [EID_50] [PFU] [FFU] [CFU] [BAU] [AU]
    [Amb'a'1'U] [PNU] [Lf] [D'ag'U] [FEU] [ELU] [EU] Ao b att [psi] circ sph [car_m] [car_Au] [smoot] bit_s
    [degRe] [m/s2/Hz^(1/2)] [IR] [NTU] [FNU]
    """
_PREFIXES: Final = frozenset(_PREFIX_SYMBOLS.split())
_METRIC: Final = frozenset(_METRIC_SYMBOLS.split())
_PLAIN: Final = frozenset(_PLAIN_SYMBOLS.split())
_TOKEN: Final = re.compile(
    r"(?P<open>\()|(?P<close>\))|(?P<operator>[./])|(?P<unit>(?:\[[^\[\]\s]*\]|[^./(){}\[\]\s])+)?"
    r"(?P<note>\{[ -z|~]*\})?",
    re.ASCII,
)
_EXPONENT: Final = re.compile(r"(?P<unit>.*?[^0-9+\-]|10[*^])(?:[+\-]?[0-9]{1,4})?", re.ASCII)
_FACTOR: Final = re.compile(r"[1-9][0-9]*|0+[1-9][0-9]*", re.ASCII)
_LONGEST: Final = 256


@remembered
def valid(code: str) -> bool:
    """Whether a text is a code of UCUM (case-sensitive): ``mm[Hg]``, ``10*3/uL``, ``{score}``, ``kg/(m2.d)``.

    Args:
        code: the text; longer ones than 256 letters are no codes.
    """
    if not code or len(code) > _LONGEST:
        return False
    place, depth = 0, 0
    wants, start = True, True
    while place < len(code):
        found = _TOKEN.match(code, place)
        if found is None or found.end() == place:
            return False
        place = found.end()
        step = _step(found, wants=wants, start=start)
        if step is None:
            return False
        wants, start = step
        depth += (found["open"] is not None) - (found["close"] is not None)
        if depth < 0:
            return False
    return not depth and not wants


def _step(found: re.Match[str], *, wants: bool, start: bool) -> tuple[bool, bool] | None:
    """What may follow a token: (a component has to come, a leading "/" may come); None where the token may not be."""
    if found["open"]:
        return (True, True) if wants else None
    if found["close"]:
        return None if wants else (False, False)
    if found["operator"]:
        leading = wants and start and found["operator"] == "/"
        return (True, False) if leading or not wants else None
    if not wants or (found["unit"] and not _component(found["unit"])):
        return None
    return False, False


def _component(text: str) -> bool:
    """Whether a text is a number, or a unit with or without a prefix and an exponent."""
    if _FACTOR.fullmatch(text):
        return True
    found = _EXPONENT.fullmatch(text)
    return found is not None and (_unit(found["unit"]) or _unit(text))


def _unit(name: str) -> bool:
    if name in _METRIC or name in _PLAIN:
        return True
    return any(name[:length] in _PREFIXES and name[length:] in _METRIC for length in (1, 2))
