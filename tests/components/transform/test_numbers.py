import pytest
import tensorflow as tf

from components.transform.tokens import tokenize


def units_of(text: str) -> list[str]:
    return [unit.decode() for unit in tokenize(tf.constant([text]), 64, fold_plurals=True).to_list()[0]]


@pytest.mark.parametrize(
    ("expected", "spellings"),
    [
        ("10 10ft", "10 ft|10ft|10 feet|10-foot|10-feet|10'|10 ft.|10′|10 FT|10’"),
        ("10 10in", "10 inch|10 inches|10-inch|10in|10\"|10”|10 in.|10″|10''|10‑inch|10寸|10英寸|10-in"),
        ("5 5lb", "5 lb|5lbs|5 pounds|5-pound|5 lbs."),
        ("16 16oz", "16 oz|16oz|16 ounces|16-ounce|16 fl oz|16 fl. oz.|16 fluid ounces|16floz"),
        ("12 12pk", "12 pack|12-pack|12pk|12 pcs|12 pieces|12 count|12ct|pack of 12|(Pack of 12)"),
        ("500 500ml", "500ml|500 ml|500毫升|500 毫升|500 milliliters|500 millilitres"),
        ("1.5 1.5l", "1.5l|1.5 L|1.5 liters|1.5-litre|1,5 l|1,5 Liter"),
        ("10000 10000mah", "10000mah|10,000 mAh|10,000mah"),
        ("2 2kg", "2kg|2 kgs|2公斤|2千克|2 kilograms"),
        ("30 30cm", "30cm|30 cm|30厘米|30 centimeters"),
        ("250 250g", "250g|250 grams|250克"),
        ("32 32gb", "32gb|32 GB|32-GB|32 gigabytes"),
        ("120 120v 60 60hz", "120v 60hz|120 volts, 60 Hertz|120-Volt / 60-Hz"),
        ("48 48mp", "48mp|48 megapixel|48-megapixels"),
        ("1 2 1⁄2in", '1/2 inch|1/2"|1/2-inch|1/2in'),
        ("5 5ft 10 10in", "5'10\"|5 ft 10 inch|5ft 10in"),
        ("10 10ft x 100 100ft", "10 ft. x 100 ft.|10ft x 100ft|10ftx100ft|10'x100'|10' x 100'|10ft×100ft"),
        ("5 10 10ft", "5-10ft|5-10 feet"),
    ],
)
def test_all_spellings_of_a_measure_give_the_same_units(expected, spellings):
    assert {spelling: " ".join(units_of(spelling)) for spelling in spellings.split("|")} == dict.fromkeys(
        spellings.split("|"), expected
    )


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("tarp 10 ft. x 100 ft.", "10x100 tarp", "10 100 x tarp"),
        ("2x4x8ft stud", "8 foot stud", "8 8ft stud"),
        ("10-foot-long cable", "long cable 10'", "10 10ft long cable"),
        ("(Pack of 12) 16 fl oz", "12 pack 16oz", "12 12pk 16 16oz"),
        ("vinyl,8oz gallon/64oz", "8 oz 64 oz", "8 8oz 64 64oz"),
        ("size 6 women's 1,000 beads", "1000 beads", "1000 bead"),
        ("矿泉水500毫升装", "500ml矿泉水", "500 500ml 矿 泉 水"),
    ],
)
def test_texts_that_mean_the_same_measure_meet(one, other, shared):
    assert set(units_of(one)) & set(units_of(other)) == set(shared.split())


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("3 in 1, 3-in-1, 3-in-one", "3 in 1 3 in 1 3in1 3 in one 3inone"),
        ("made 10 in china", "made 10 in china"),
        ("the 80's 80s", "the 80 s 80s 80 s 80s"),
        ("HL-2130W", "hl 2130 w hl2130w"),
        ("sizes 1,5 and 4,5,6", "size 1 5 and 4 5 6"),
        ("007 1/2 24/7 1.50", "007 1 2 24 7 1.50"),
        ("1,0000 0,123 1,000,000", "1 0000 0 123 1000000"),
        ("5 footballs 5 gorillas", "5 football 5 gorilla"),
        ("10'红 10xl 10' xl", "10 10ft 红 10 xl 10xl 10 10ft xl"),
    ],
)
def test_what_only_looks_like_a_measure_is_none(text, units):
    assert units_of(text) == units.split()
