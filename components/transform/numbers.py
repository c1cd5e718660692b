"""Numbers with a unit of measure, each spelled in one way: "10 ft", "10-foot" and "10'" are all `10` and `10ft`.

Text here is lower-cased and free of control characters, which serve as marks within it. RE2 does not look ahead, and
one match cannot begin within another. So words are separated by two spaces, one for the match on either side, or a
mark is put first and taken away where the wrong thing follows.
"""

import tensorflow as tf

# Between a number and its unit of measure: "10<mark>ft" is one word, which is not parted.
MEASURE_MARK = "\x03"
# In place of the slash of a fraction with a unit of measure, which is no separator: "1⁄2in".
FRACTION_SLASH = "⁄"

# By the name that a unit of measure gets, how it is written.
_SPELLINGS = {
    "in": "inch(?:es)?",
    "ft": "feet|foot|ft",
    "yd": "yards?|yds?",
    "mm": "millimet(?:er|re)s?|mm",
    "cm": "centimet(?:er|re)s?|cm",
    "m": "met(?:er|re)s?|m",
    "km": "kilomet(?:er|re)s?|km",
    "mg": "milligrams?|mg",
    "g": "grams?|gm|g",
    "kg": "kilograms?|kilos?|kgs?",
    # A fluid ounce too: titles leave out the word that tells them apart.
    "oz": "(?:fluid  |fl  )?(?:ounces?|oz)|floz",
    "lb": "pounds?|lbs?",
    "ml": "millilit(?:er|re)s?|ml",
    "l": "lit(?:er|re)s?|l",
    "qt": "quarts?|qts?",
    "gal": "gallons?|gals?",
    "mb": "megabytes?|mb",
    "gb": "gigabytes?|gb",
    "tb": "terabytes?|tb",
    "hz": "hertz|hz",
    "mhz": "megahertz|mhz",
    "ghz": "gigahertz|ghz",
    "v": "volts?|v",
    "w": "watts?|w",
    "mah": "mah",
    "mp": "megapixels?|mp",
    "pk": "packs?|pks?|pieces?|pcs?|counts?|ct",
}
_CHINESE = {"ml": "毫升", "mm": "毫米", "cm": "厘米", "kg": "公斤|千克", "g": "克", "in": "英?寸"}

_ANY_SPELLING = "|".join(_SPELLINGS.values())
_NUMBER = r"[0-9]+(?:\.[0-9]+|,[0-9]{1,2}|/[0-9]+)?"
# "in" is a preposition too: it counts right behind the number only, and not in "2-in-1".
_MEASURE = rf" ((?:[0-9.]+[-x/])*?)({_NUMBER})(?:(?:  |-)?({_ANY_SPELLING})( |-[a-z])|-?(in) )"

_INCH_SIGN = r"""([0-9])(?:["”″]|''|’’|′′|(?: *|-)in\.)(x?)"""
_FOOT_SIGN = r"([0-9])['’′]"
_FOOT_MARK = "\x02"
# How any of them begins: most numbers have no sign, and one look is less than a look for each.
_ANY_SIGN = f"""[0-9](?:["”″'’′]|-in\\.| *(?:in\\.|[{"".join(text[0] for text in _CHINESE.values())}千寸]))"""
# A lone x stands between the sides of a measure; before any other letter it is an apostrophe ("80's").
_APOSTROPHE_AFTER_ALL = f"{_FOOT_MARK}([a-wyz]|x[a-z])"

# Digit groups: the first without a leading zero, the others of three digits.
_THOUSANDS = r"\b([1-9][0-9]{0,2}),([0-9]{3})(?:,([0-9]{3}))?([^0-9])"
_PACK_OF = r" packs?  of  ([0-9]+) "
_CLOSED_UP = r"([0-9](?:inches|inch|in|feet|foot|ft|cm|mm))(?:-|(x)[-./,]?)"
_DECIMAL_COMMA = rf"([0-9]),([0-9]{{1,2}} [0-9]+),([0-9]{{1,2}}{MEASURE_MARK})"


def spell_out_signs(text: tf.Tensor) -> tf.Tensor:
    """Signs and Chinese units of measure become Latin ones: 10' is "10ft", 500毫升 is "500ml".

    Args:
      text: [batch] string, lower-cased.
    """
    text = tf.strings.regex_replace(text, "×", "x")
    signed = tf.reduce_any(tf.strings.regex_full_match(text, f".*{_ANY_SIGN}.*"))
    return tf.cond(signed, lambda: _spell_out(text), lambda: text)


def _spell_out(text: tf.Tensor) -> tf.Tensor:
    text = tf.strings.regex_replace(text, _INCH_SIGN, r"\1in \2 ")
    text = tf.strings.regex_replace(text, _FOOT_SIGN, rf"\1{_FOOT_MARK}")
    text = tf.strings.regex_replace(text, _APOSTROPHE_AFTER_ALL, r"\1")
    text = tf.strings.regex_replace(text, rf"{_FOOT_MARK}(x?)", r"ft \1 ")
    for name, spelling in _CHINESE.items():
        text = tf.strings.regex_replace(text, f"([0-9]) *(?:{spelling})", rf"\1{name} ")
    return text


def mark_measures(text: tf.Tensor) -> tf.Tensor:
    """Numbers with a unit of measure become two words: "10  foot" is "10 10<mark>ft".

    Digit groups lose their commas ("1,000" is "1000"). A comma is a decimal point only where a unit of measure follows
    ("1,5 l"): elsewhere it may as well part a list.

    Args:
      text: [batch] string. Words are separated by two spaces, also at both ends; within a word are at most single
        characters of "-./,".
    """
    # A comma and a slash are part of a number or part words: "red,8oz", "gallon/64oz".
    text = tf.strings.regex_replace(text, "([^0-9])[,/]", r"\1  ")
    text = tf.strings.regex_replace(text, "[,/]([^0-9])", r"  \1")
    text = tf.strings.regex_replace(text, _THOUSANDS, r"\1\2\3\4")
    text = tf.strings.regex_replace(text, _PACK_OF, rf" \1 \1{MEASURE_MARK}pk ")
    text = tf.strings.regex_replace(text, _CLOSED_UP, r"\1  \2  ")
    text = tf.strings.regex_replace(text, _MEASURE, rf" \1\2 \2{MEASURE_MARK}\3\5 \4")
    measured = tf.reduce_any(tf.strings.regex_full_match(text, f".*{MEASURE_MARK}.*"))
    return tf.cond(measured, lambda: _spell_alike(text), lambda: text)


def _spell_alike(text: tf.Tensor) -> tf.Tensor:
    """Marked units of measure in the spelling that is their name; all that needs a mark at all is done here."""
    for name, spelling in _SPELLINGS.items():
        text = tf.strings.regex_replace(text, f"{MEASURE_MARK}(?:{spelling}) ", f"{MEASURE_MARK}{name} ")
    text = tf.strings.regex_replace(text, _DECIMAL_COMMA, r"\1.\2.\3")
    return tf.strings.regex_replace(text, f"/([0-9]+{MEASURE_MARK})", rf"{FRACTION_SLASH}\1")
