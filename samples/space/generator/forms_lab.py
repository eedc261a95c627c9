"""Blood tests, vital signs and immune monitoring. Values are whole numbers of the last place printed."""

from __future__ import annotations

from collections.abc import Iterator

from generator.draw import Draw, edc_date, fixed, yes
from generator.forms_subject import Row
from generator.plan import END, FIRST, LATE, SCREENING, Plan, nadirs

# CTCAE 4.03 bounds of the neutrophil count in 10**7/L, the lower limit of normal taken as 2.00 x 10**9/L
NEUTROPHILS = {0: (210, 540), 1: (150, 199), 2: (100, 149), 3: (50, 99)}
LOST = ("Sample clotted or haemolysed", "Not collected – poor venous access", "Tube lost in transit")
# column, low, high, places: a subject's own level lies there, each visit within a tenth of it
CHEMISTRY: tuple[tuple[str, int, int, int], ...] = (
    ("sodium_mmol_l", 136, 144, 0),
    ("potassium_mmol_l", 36, 49, 1),
    ("urea_mmol_l", 32, 75, 1),
    ("creatinine_umol_l", 62, 108, 0),
    ("alt_u_l", 12, 44, 0),
    ("ast_u_l", 14, 36, 0),
    ("alp_u_l", 45, 105, 0),
    ("bilirubin_umol_l", 4, 17, 0),
    ("albumin_g_l", 38, 48, 0),
    ("calcium_mmol_l", 218, 252, 2),
    ("glucose_mg_dl", 79, 104, 0),
)
STEADY = {"sodium_mmol_l": 2, "albumin_g_l": 2, "calcium_mmol_l": 6}  # what the body keeps within narrow bounds
THYROID = (SCREENING, "Cycle 3 Day 1", END)
CELLS = (SCREENING, "Cycle 4 Day 1", END, LATE)
IMMUNE = (FIRST, "Cycle 2 Day 1", END)


def _near(level: int, draw: Draw, tenths: int = 1) -> int:
    """A value within so many tenths of a subject's own level."""
    spread = max(1, level * tenths // 10)
    return level + draw.between(-spread, spread)


def _clock(draw: Draw) -> str:
    return f"{draw.between(7, 11):02d}:{draw.pick((0, 5, 10, 15, 20, 30, 35, 40, 45, 50)):02d}"


def blood_count(of: Plan) -> Iterator[Row]:
    """Full blood count at every visit of the schedule and at rechecks; the neutrophils agree with the events."""
    draw = Draw(of.who.index, "blood count")
    low = nadirs(of)
    level = {"hb": draw.bell(134, 164), "plt": draw.bell(170, 330), "lym": draw.bell(130, 290)}
    for visit, day in of.attended_visits():
        if visit.planned is None and not visit.recheck:
            continue
        lost = visit.planned is not None and visit.label != SCREENING and visit.label not in low and draw.chance(3)
        row = {"visit": visit.label, "panel_done": yes(not lost), "not_done_reason": draw.pick(LOST) if lost else ""}
        if not lost:
            row |= {"sample_date": edc_date(day), "sample_time": "" if draw.chance(5) else _clock(draw)}
            row |= _counts(low.get(visit.label, 0), level, draw)
        yield row


def _counts(grade: int, level: dict[str, int], draw: Draw) -> Row:
    """One panel: the five kinds of white cells add up to the white cell count."""
    neutrophils = draw.between(*NEUTROPHILS[0]) if not grade else draw.between(*NEUTROPHILS[grade])
    lymphocytes, monocytes, eosinophils = _near(level["lym"], draw, 2), draw.bell(25, 75), draw.bell(4, 38)
    basophils = draw.bell(0, 8)
    haemoglobin = _near(level["hb"], draw) if draw.chance(20) else level["hb"] + draw.between(-4, 4)
    red = haemoglobin * 1000 // draw.between(285, 315)
    return {
        "haemoglobin_g_l": str(haemoglobin),
        "rbc_10e12_l": fixed(red, 2),
        "haematocrit_l_l": fixed(haemoglobin * 295 // 1000, 2),
        "mcv_fl": fixed(haemoglobin * 2950 // red, 1),
        "platelets_10e9_l": str(_near(level["plt"], draw)),
        "wbc_10e9_l": fixed(neutrophils + lymphocytes + monocytes + eosinophils + basophils, 2),
        "neutrophils_10e9_l": fixed(neutrophils, 2),
        "lymphocytes_10e9_l": fixed(lymphocytes, 2),
        "monocytes_10e9_l": fixed(monocytes, 2),
        "eosinophils_10e9_l": fixed(eosinophils, 2),
        "basophils_10e9_l": fixed(basophils, 2) if basophils > 1 else "<0.02",
    }


def chemistry(of: Plan) -> Iterator[Row]:
    """Biochemistry at every visit of the schedule; TSH at three of them; glucose in mg/dL, the rest in SI units."""
    draw = Draw(of.who.index, "chemistry")
    level = {name: draw.bell(low, high) for name, low, high, _ in CHEMISTRY}
    filtration, thyroid = draw.bell(68, 108), draw.bell(60, 340)
    for visit, day in of.attended_visits():
        if visit.planned is None:
            continue
        lost = visit.label != SCREENING and draw.chance(3)
        row = {"visit": visit.label, "panel_done": yes(not lost), "not_done_reason": draw.pick(LOST) if lost else ""}
        if not lost:
            egfr = _near(filtration, draw)
            row |= {"sample_date": edc_date(day), "sample_time": "" if draw.chance(5) else _clock(draw)}
            row |= {"fasting": yes(draw.chance(60))}
            row |= {name: _spelt(name, level[name], places, draw) for name, _, _, places in CHEMISTRY}
            row |= {"egfr_ml_min_173m2": ">90" if egfr > 90 else str(egfr)}
            row |= {"tsh_miu_l": fixed(_near(thyroid, draw, 2), 2) if visit.label in THYROID else ""}
        yield row


def _spelt(name: str, level: int, places: int, draw: Draw) -> str:
    """A chemistry value; a low bilirubin is given as below the limit of the assay."""
    steady = STEADY.get(name)
    value = level + draw.between(-steady, steady) if steady else _near(level, draw)
    if name == "bilirubin_umol_l" and value < 7:
        return "<7"
    return fixed(value, places)


def cd4_cd8_viral_load(of: Plan) -> Iterator[Row]:
    """T cells and HIV RNA of the men with HIV; the first CD4 count is the published baseline, RNA is never detected."""
    who, draw = of.who, Draw(of.who.index, "t cells")
    if who.cd4 is None:
        return
    ratio, share = draw.bell(60, 140), draw.between(68, 80)
    for visit, day in of.attended_visits():
        if visit.label not in CELLS:
            continue
        first = visit.label == SCREENING
        lost = not first and draw.chance(4)
        row = {"visit": visit.label, "sample_done": yes(not lost), "not_done_reason": draw.pick(LOST) if lost else ""}
        if not lost:
            cd4 = who.cd4 if first else _near(who.cd4, draw)
            cd8 = cd4 * 100 // _near(ratio, draw)
            row |= {
                "sample_date": edc_date(day),
                "cd4_cells_ul": str(cd4),
                "cd4_pct": str(share * cd4 // (cd4 + cd8)),
                "cd8_cells_ul": str(cd8),
                "cd8_pct": str(share * cd8 // (cd4 + cd8)),
                "cd4_cd8_ratio": fixed(100 * cd4 // cd8, 2),
                "hiv_rna_copies_ml": "<20",
            }
        yield row


def vitals(of: Plan) -> Iterator[Row]:
    """Vital signs at every visit that took place; some men are weighed in pounds; height at screening only."""
    draw = Draw(of.who.index, "vitals")
    weight, height, pounds = draw.bell(640, 1020), draw.bell(1660, 1900), draw.chance(12)
    pressure = draw.bell(112, 142)
    for visit, day in of.attended_visits():
        skipped = visit.label != SCREENING and draw.chance(2)
        why = "Equipment being calibrated" if draw.chance(50) else "Overlooked"
        row = {"visit": visit.label, "vitals_done": yes(not skipped), "not_done_reason": why if skipped else ""}
        if not skipped:
            weight += draw.between(-8, 8)
            systolic = pressure + draw.between(-9, 9)
            row |= {
                "assessment_date": edc_date(day),
                "assessment_time": "" if draw.chance(5) else _clock(draw),
                "position": "2" if draw.chance(10) else "1",
                "weight": fixed(weight * 22046 // 10000 if pounds else weight, 1),
                "weight_unit": "lb" if pounds else "kg",
                "height_cm": fixed(height, 1) if visit.label == SCREENING else "",
                "bp_systolic_mmhg": str(systolic),
                "bp_diastolic_mmhg": str(systolic * 63 // 100 + draw.between(-4, 4)),
                "pulse_bpm": str(draw.bell(54, 92)),
                "temperature_c": "" if draw.chance(4) else fixed(draw.bell(360, 372), 1),
            }
        yield row


def immune_monitoring(of: Plan) -> Iterator[Row]:
    """Activated T cells and the CD4 response to HPV16 E6 and E7 (OX40+ CD25+ cells); positive from 0.20 %."""
    draw = Draw(of.who.index, "immune")
    activated4, activated8, answers = draw.bell(120, 420), draw.bell(250, 1300), draw.chance(35)
    for visit, day in of.attended_visits():
        if visit.label not in IMMUNE:
            continue
        lost = draw.chance(5)
        row = {"visit": visit.label, "sample_done": yes(not lost), "not_done_reason": draw.pick(LOST) if lost else ""}
        if not lost:
            rise = 100 if visit.label == FIRST else draw.between(120, 180)
            row |= {
                "sample_date": edc_date(day),
                "cd4_cd38_hladr_pct": fixed(_near(activated4, draw) * rise // 100, 2),
                "cd8_cd38_hladr_pct": fixed(_near(activated8, draw) * rise // 100, 2),
                **_assay("hpv16_e6", answers or (rise > 150), draw),
                **_assay("hpv16_e7", answers and draw.chance(40), draw),
            }
        yield row


def _assay(antigen: str, answers: bool, draw: Draw) -> Row:
    share = draw.between(20, 140) if answers else draw.between(0, 19)
    return {
        f"{antigen}_ox40_cd25_pct": fixed(share, 2) if share else "<0.01",
        f"{antigen}_result": "Positive" if answers else "Negative",
    }
