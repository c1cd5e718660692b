"""Units of a text and n-grams of a word, word by word in plain Python."""

import re
import unicodedata

_PLURALS = ((r"\b([a-z]+(?:ss|x|ch|sh))es\b", r"\1"), (r"\b([a-z]{2,})ies\b", r"\1y"))
_PLURALS += ((r"\b([a-z]{2,}[a-hj-rtv-z])s\b", r"\1"),)
_WRITTEN = {
    "in": "inch inches",
    "ft": "foot feet ft",
    "yd": "yard yards yd yds",
    "mm": "mm millimeter millimeters millimetre millimetres",
    "cm": "cm centimeter centimeters centimetre centimetres",
    "m": "m meter meters metre metres",
    "km": "km kilometer kilometers kilometre kilometres",
    "mg": "mg milligram milligrams",
    "g": "g gm gram grams",
    "kg": "kg kgs kilo kilos kilogram kilograms",
    "oz": "oz ounce ounces floz",
    "lb": "lb lbs pound pounds",
    "ml": "ml milliliter milliliters millilitre millilitres",
    "l": "l liter liters litre litres",
    "qt": "qt qts quart quarts",
    "gal": "gal gals gallon gallons",
    "mb": "mb megabyte megabytes",
    "gb": "gb gigabyte gigabytes",
    "tb": "tb terabyte terabytes",
    "hz": "hz hertz",
    "mhz": "mhz megahertz",
    "ghz": "ghz gigahertz",
    "v": "v volt volts",
    "w": "w watt watts",
    "mah": "mah",
    "mp": "mp megapixel megapixels",
    "pk": "pk pks pack packs piece pieces pc pcs count counts ct",
}
_MEASURES = {word: name for name, words in _WRITTEN.items() for word in words.split()}
_CHINESE = {"毫升": "ml", "毫米": "mm", "厘米": "cm", "公斤": "kg", "千克": "kg", "克": "g", "英寸": "in", "寸": "in"}
_NUMBER = r"(?P<before>(?:[0-9.]+[-x/])*?)(?P<number>[0-9]+(?:\.[0-9]+|,[0-9]{1,2}|/[0-9]+)?)"


def units(text: bytes, fold_plurals: bool = False) -> list[str]:
    words = _words(_spelled_out(text))
    found: list[str] = []
    while words:
        if words[0] in ("pack", "packs") and words[1:2] == ["of"] and re.fullmatch("[0-9]+", "".join(words[2:3])):
            found += [words[2], words[2] + "pk"]
            del words[:3]
            continue
        word = words.pop(0)
        # What a pack holds is told by "of" and takes no word for itself.
        pack_follows = words[:2] in (["pack", "of"], ["packs", "of"]) and re.fullmatch("[0-9]+", "".join(words[2:3]))
        measure = None if pack_follows else _measure(word, words)
        if measure is None:
            found += _parts(word, fold_plurals)
            continue
        before, number, name, rest, taken = measure
        del words[:taken]
        found += [*_parts(before + number, fold_plurals), number.replace("/", "⁄") + name]
        found += _parts(rest, fold_plurals)
    return found


def shared_subwords(one: str, other: str, n: int = 4) -> set[str]:
    """The n-grams that two words share."""
    return set(subwords(one, n)) & set(subwords(other, n))


def subwords(word: str, n: int = 4) -> list[str]:
    if any(unicodedata.category(c)[0] == "N" for c in word) or (len(word) == 1 and _unsegmented(word)):
        return []
    marked = f"^{word}$"
    return [marked[i : i + n] for i in range(max(len(marked) - n, 0) + 1)]


def _unsegmented(character: str) -> bool:
    return unicodedata.name(character, "").startswith(("CJK UNIFIED", "HIRAGANA ", "KATAKANA ", "THAI CHAR"))


def _spelled_out(text: bytes) -> str:
    decoded = text.decode("utf-8", "replace").replace("\ufffd", " ").lower()
    decoded = "".join(" " if c < " " else "-" if c in "‐‑" else "x" if c == "×" else c for c in decoded)
    decoded = re.sub(r"""(?<=[0-9])(?:["”″]|''|’’|′′| *in\.|-in\.)(x?)""", r"in \1 ", decoded)
    decoded = re.sub(r"(?<=[0-9])['’′](?![a-wyz]|x[a-z])(x?)", r"ft \1 ", decoded)
    decoded = re.sub(r"(?<=[0-9])′(?=[a-z])", "", decoded)
    decoded = re.sub(rf"(?<=[0-9]) *({'|'.join(_CHINESE)})", lambda m: _CHINESE[m[1]] + " ", decoded)
    return re.sub("['’`]", "", decoded)


def _words(text: str) -> list[str]:
    """Runs of unit characters with single separators in between."""

    def character(c: str) -> str:
        if _unsegmented(c):
            return f" {c} "
        return c if unicodedata.category(c)[0] in "LNM" or c in "-./," else " "

    def runs(text: str) -> list[str]:
        return re.findall(r"[^ \-./,]+(?:[\-./,][^ \-./,]+)*", text)

    text = re.sub("(?<![0-9])[,/]|[,/](?![0-9])", " ", " ".join(runs("".join(map(character, text)))))
    text = re.sub(
        r"(?<![0-9a-z])([1-9][0-9]{0,2}),([0-9]{3})(?:,([0-9]{3}))?(?![0-9])",
        lambda m: m[1] + m[2] + (m[3] or ""),
        text,
    )
    return runs(re.sub(r"(?<=[0-9])(inch|inches|in|feet|foot|ft|cm|mm)(?:-|(x))", r"\1 \2 ", text))


def _measure(word: str, following: list[str]) -> tuple[str, str, str, str, int] | None:
    """What comes before the number, the number, its unit of measure, the rest of that word, and words taken."""
    if match := re.fullmatch(_NUMBER + "-?in", word):
        return match["before"], match["number"].replace(",", "."), "in", "", 0
    for taken in range(4):
        joined = " ".join([word, *following[:taken]])
        match = re.fullmatch(_NUMBER + "[ -]?(?P<measure>[a-z ]+?)(?P<rest>-[a-z].*)?", joined)
        if match and len(following) >= taken and " " not in (match["rest"] or ""):
            name = _MEASURES.get(re.sub(r"^(fl|fluid) (?=oz$|ounces?$)", "", match["measure"]))
            if name:
                return match["before"], match["number"].replace(",", "."), name, match["rest"] or "", taken
    return None


def _parts(word: str, fold_plurals: bool) -> list[str]:
    found = []
    for piece in re.split("[,/]", word):
        parts = re.findall(r"[0-9]+(?:\.[0-9]+)*|[^0-9.\-]+", piece)
        for plural, singular in _PLURALS if fold_plurals else ():
            parts = [re.sub(plural, singular, part, flags=re.ASCII) for part in parts]
        found += parts
        if len({part[0] in "0123456789" for part in parts}) == 2:
            found.append("".join(parts))
    return found
