import itertools

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.transform import tokens
from tests.components.transform import tokens_oracle as oracle


def units_of(*texts: bytes | str, max_units: int = 32) -> list[list[str]]:
    return [[u.decode() for u in row] for row in tokens.tokenize(tf.constant(texts), max_units).to_list()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Women's RED shoes, size 7", ["womens", "red", "shoes", "size", "7"]),
        ("红色Nike跑鞋", ["红", "色", "nike", "跑", "鞋"]),
        ("Ünïcode ÉTÉ", ["ünïcode", "été"]),
        ("scarpe_da  corsa", ["scarpe", "da", "corsa"]),
        ("…!?", []),
        ("", []),
        (b"caf\xff bar", ["caf", "bar"]),
    ],
)
def test_units_are_words_or_characters_of_unsegmented_scripts(text, expected):
    assert units_of(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HL-2130", "hl 2130 hl2130"),
        ("hl2130", "hl 2130 hl2130"),
        ("WH-1000XM4", "wh 1000 xm 4 wh1000xm4"),
        ("battlefield3", "battlefield 3 battlefield3"),
        ("10x100", "10 x 100 10x100"),
        ("No.5 v1.2.3", "no 5 no5 v 1.2.3 v1.2.3"),
        ("ps3/ps4 iPhone6/6s", "ps 3 ps3 ps 4 ps4 iphone 6 iphone6 6 s 6s"),
        ("wi-fi6 3d-glasses", "wi fi 6 wifi6 3 d glasses 3dglasses"),
        ("t-shirt anti-slip a.b 1-2 -5-", "t shirt anti slip a b 1 2 5"),
        ("iPhone5手机", "iphone 5 iphone5 手 机"),
        ("m² ５00", "m² ５ 00 ５00"),
    ],
)
def test_words_of_letters_and_digits_give_parts_and_themselves(text, expected):
    assert units_of(text) == [expected.split()]


def test_control_characters_part_units():
    assert units_of("a\x01b 10\x03ft\x02") == [["a", "b", "10", "10ft"]]


def test_a_text_of_ten_thousand_words_is_cut():
    assert units_of("word " * 10_000, max_units=8) == [["word"] * 8]
    assert units_of("HL-2130 " * 10_000, max_units=4) == [["hl", "2130", "hl2130", "hl"]]


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("shoes dresses boxes watches", "shoe dress box watch"),
        ("batteries women's", "battery women"),
        ("glass bus iris gas usb", "glass bus iris gas usb"),
        ("红色 shoes红", "红 色 shoe 红"),
    ],
)
def test_plurals_fold_to_their_singular(plural, singular):
    folded = tokens.tokenize(tf.constant([plural]), 32, fold_plurals=True).to_list()[0]
    assert [unit.decode() for unit in folded] == singular.split()
    assert units_of(singular) == [singular.split()]


NUMBERS = "0 1 5 10 12 007 1.5 1,5 1,000 10,000 1/2 1-1/2 ½ ５ 3d v1.2.3"
MEASURES = "ft feet foot-long in inch inches in. fl oz fluid ounces LB kg g l mL mah ct m cm pack packs"
WORDS = "毫升 厘米 公斤 克 寸 英寸 a b hl x xl s of shoes batteries glasses Wi-Fi 红 色 カ ひ ก é Ü 👟"
SIGNS = "' ' \" ’ ″ ′ '' × - - . . , / _ & ( ) ‑ ⁄"
BYTES = [fragment.encode() for fragment in f"{NUMBERS} {MEASURES} {WORDS} {SIGNS}".split()]
BYTES += [b"\xff", b"\xe7\xba", b"\xc3", b"\x03", b"\x01", b"\n"]
mixed_text = st.lists(st.sampled_from(BYTES) | st.just(b" "), max_size=12).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(mixed_text, min_size=1, max_size=20), st.booleans())
def test_units_equal_a_plain_python_tokenizer(texts, fold_plurals):
    in_graph = tokens.tokenize(tf.constant(texts), 10_000, fold_plurals).to_list()
    assert [[u.decode() for u in row] for row in in_graph] == [oracle.units(text, fold_plurals) for text in texts]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=40) | st.text(max_size=20).map(str.encode), min_size=1, max_size=4))
def test_any_bytes_give_units_free_of_marks(texts):
    for unit in itertools.chain(*tokens.tokenize(tf.constant(texts), 10_000, True).to_list()):
        assert unit
        assert not set(unit.decode()) & {*map(chr, range(33)), tokens.JOINER, tokens.HEAD, tokens.TAIL}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "bc", "红"]), max_size=6), min_size=1, max_size=4))
def test_bigrams_and_phrases_equal_plain_python(texts):
    units = tf.ragged.constant(texts, ragged_rank=1, dtype=tf.string)
    marked = [["^", *text, "$"] for text in texts]
    pairs = [["_".join(p) for p in itertools.pairwise(text)] if len(text) > 2 else [] for text in marked]
    assert [[p.decode() for p in row] for row in tokens.bigrams(units).to_list()] == pairs
    runs = [["_".join(text[i : i + n]) for n in (2, 3) for i in range(len(text) - n + 1)] for text in texts]
    assert [[p.decode() for p in row] for row in tokens.phrases(units, 3).to_list()] == runs


def subwords_of(*texts: str, **options: int) -> list[list[str]]:
    units = tokens.tokenize(tf.constant(texts), 100)
    return [[gram.decode() for gram in row] for row in tokens.subwords(units, **options).to_list()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("green", "^gre gree reen een$"),
        ("x ab red", "^x$ ^ab$ ^red red$"),
        ("für Größe", "^für für$ ^grö größ röße öße$"),
        ("2130 10 ft 红 ひ m² ５", ""),
        ("HL-2130", "^hl$"),
        ("", ""),
    ],
)
def test_subwords_are_n_grams_of_marked_words(text, expected):
    assert subwords_of(text) == [expected.split()]


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("headphones", "headphone", {"^hea", "head", "eadp", "adph", "dpho", "phon", "hone"}),
        ("waterproof", "waterprof", {"^wat", "wate", "ater", "terp", "erpr", "rpro"}),
        ("tea", "steam", set()),
    ],
)
def test_words_spelled_alike_share_subwords(one, other, shared):
    assert oracle.shared_subwords(one, other) == shared
    first, second = subwords_of(one, other)
    assert set(first) & set(second) == shared


@settings(max_examples=50, deadline=None)
@given(st.lists(mixed_text, min_size=1, max_size=5), st.integers(1, 6), st.integers(1, 40))
def test_subwords_equal_plain_python(texts, n, most):
    units = tokens.tokenize(tf.constant(texts), 100)
    expected = [[gram for unit in row for gram in oracle.subwords(unit.decode(), n)][:most] for row in units.to_list()]
    assert [[gram.decode() for gram in row] for row in tokens.subwords(units, n, most).to_list()] == expected
