"""What people type: wordings of needs, and misspellings of them."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from marketplace.config import QuerySettings
from marketplace.wording import SYNONYM, Wording

KEYBOARD = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "wa", "r": "et", "s": "ad", "t": "ry",
    "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
    # What a Chinese input method offers for the same sound.
    "机": "鸡", "包": "宝", "鞋": "协", "表": "标", "杯": "背", "裙": "群", "椅": "倚", "灯": "登", "霜": "双",
    "膜": "模", "壶": "胡", "锅": "郭", "箱": "相", "衣": "一", "裤": "库", "床": "窗", "茶": "查", "垫": "店",
    "车": "撤", "色": "瑟",
}  # fmt: skip


@dataclass(frozen=True)
class QueryPool:
    """Every query that may be typed. A query number is `text * (spellings + 1) + spelling`; spelling 0 is right.

    Attributes:
      texts: distinct right spellings.
      wording_text: text of each wording; wordings are sorted by intent [wordings].
      wording_kind: kind of each wording (see `wording`) [wordings].
      intent_start: first wording of each intent [intents + 1].
      cumulative: sum of the weights before each wording, one per intent [wordings + 1].
      spellings: misspellings of one text.
      seed: seed of the misspellings.
    """

    texts: tuple[str, ...]
    wording_text: np.ndarray
    wording_kind: np.ndarray
    intent_start: np.ndarray
    cumulative: np.ndarray
    spellings: int
    seed: int

    def draw(self, intent: np.ndarray, misspelling_share: float, rng: np.random.Generator) -> np.ndarray:
        """One query number for each need [draws]."""
        low = self.cumulative[self.intent_start[intent]]
        high = self.cumulative[self.intent_start[intent + 1]]
        place = np.searchsorted(self.cumulative, low + rng.random(len(intent)) * (high - low), side="right") - 1
        wording = np.clip(place, self.intent_start[intent], self.intent_start[intent + 1] - 1)
        wrong = rng.random(len(intent)) < misspelling_share
        spelling = np.where(wrong, rng.integers(1, self.spellings + 1, len(intent)), 0)
        return self.wording_text[wording] * (self.spellings + 1) + spelling

    def text(self, query: int) -> str:
        """What is typed for a query number."""
        text, spelling = divmod(int(query), self.spellings + 1)
        if spelling == 0:
            return self.texts[text]
        return misspelled(self.texts[text], random.Random(f"{self.seed}:{text}:{spelling}"))


def build_query_pool(wordings: Iterable[list[Wording]], settings: QuerySettings, seed: int) -> QueryPool:
    """A pool of the wordings of each intent, in the order of the intents.

    Where a need has synonymous wordings, they share `settings.synonym_share` of its searches.
    """
    numbers: dict[str, int] = {}
    text: list[int] = []
    kind: list[str] = []
    weight: list[float] = []
    start = [0]
    for found in wordings:
        unique = list({wording.text: wording for wording in reversed(found)}.values())[::-1]
        plain = sum(wording.weight for wording in unique if wording.kind != SYNONYM)
        synonymous = sum(wording.weight for wording in unique if wording.kind == SYNONYM)
        share = settings.synonym_share if synonymous and plain else float(plain == 0)
        for wording in unique:
            text.append(numbers.setdefault(wording.text, len(numbers)))
            kind.append(wording.kind)
            if wording.kind == SYNONYM:
                weight.append(wording.weight / synonymous * share)
            else:
                weight.append(wording.weight / plain * (1 - share))
        start.append(len(text))
    return QueryPool(
        texts=tuple(numbers),
        wording_text=np.array(text, np.int64),
        wording_kind=np.array(kind),
        intent_start=np.array(start),
        cumulative=np.concatenate([[0.0], np.cumsum(weight)]),
        spellings=settings.spellings,
        seed=seed,
    )


def misspelled(text: str, rng: random.Random) -> str:
    """`text` with one slip: two letters swapped, one dropped, doubled, or the key beside it hit.

    In Chinese the last one is a character of the same sound.
    """
    places = [place for place, letter in enumerate(text) if letter.isalpha()]
    if len(places) < 3:
        return text
    slips: list[Callable[[str, int], str]] = [
        lambda word, at: word[:at] + word[at + 1 :],
        lambda word, at: word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :],
        lambda word, at: word[:at] + word[at] + word[at:],
        lambda word, at: word[:at] + rng.choice(KEYBOARD.get(word[at], word[at])) + word[at + 1 :],
    ]
    for _ in range(8):
        wrong = rng.choice(slips)(text, rng.choice(places[1:])).strip()
        if wrong != text:
            return wrong
    return text
