"""Quotes from a hidden passage, checked word for word, and speech made safe to be shown to others.

Chosen: marks in square brackets, which no speech can hold, since the parser has made them round. Left out: quotes that
are nearly right; a quote is in the passage or it is not.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

MAX_QUOTES = 6
"""Quotes of a speech that are checked; what is quoted after them is plain text."""
FORMS = {
    "tags": re.compile(r"<quote>(.*?)</quote>", re.IGNORECASE),
    "marks": re.compile(r'"([^"]*)"'),
    "off": re.compile(r"(?!)"),
}
"""How a quote is marked: `<quote>...</quote>`, `"..."`, or not at all."""
EXAMPLES = {"tags": "<quote>{}</quote>", "marks": '"{}"', "off": "{}"}

_FOUND, _NOT_FOUND = "verified", "not found"
_MARK = re.compile(rf"\[({_FOUND}|{_NOT_FOUND}): ([^\[\]]*)\]")
_KINDS = {"Ps": "(", "Pe": ")", "Pi": '"', "Pf": '"'}
"""What stands for the signs of Unicode's categories of brackets and quotation marks."""
_PLAIN = {**{c: c for c in "()<>\"'|:"}, "[": "(", "{": "(", "]": ")", "}": ")"}
"""What stands for signs that are other forms (NFKC) of these."""


def _plain(sign: str) -> str | None:
    form = unicodedata.normalize("NFKC", sign)
    return _PLAIN[form] if form in _PLAIN else _KINDS.get(unicodedata.category(sign))


_ALIKE = str.maketrans(
    {
        # All signs of these categories lie below 2^16.
        **{c: plain for c in map(chr, range(0x80, 0x10000)) if (plain := _plain(c)) is not None},
        **dict.fromkeys("＂„⹂″‴⁗‶‷〝〞〟❝❞❠〃ʺ˝˶״ˮᐥ🙶🙷🙸", '"'),
        **dict.fromkeys("‘’‚‛′`´ʹʼ՚׳‵＇❛❜❟", "'"),
        **dict.fromkeys("＜﹤〈⟨❮❬", "<"),
        **dict.fromkeys("＞﹥〉⟩❯❭", ">"),
        **dict.fromkeys("｜︱ǀ∣❘", "|"),
        # Pieces of tall brackets, mathematical signs to Unicode.
        **dict.fromkeys("⎡⎢⎣⎧⎨⎩⎰", "("),
        **dict.fromkeys("⎤⎥⎦⎫⎬⎭⎱", ")"),
        "：": ":",
        # Nothing to the eye: a joiner, fillers, variation selectors.
        **dict.fromkeys(map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F)), ""),
        **dict.fromkeys(map(chr, (0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))), ""),
    }
)
_SINGLES = re.compile("''+")
"""Two single quotes side by side are a double one to the eye."""


class Quote(NamedTuple):
    """What a speaker says that the passage says."""

    text: str
    is_found: bool
    """Whether the passage says so, word for word."""


def plain_signs(text: str) -> str:
    """Return text on one line without signs that only look like brackets, quotes or bars, and without unseen ones.

    >>> plain_signs("\uff3bverified\uff3d \u201cyes\u201d")
    '(verified) "yes"'
    """
    return _SINGLES.sub("'", " ".join(text.translate(_ALIKE).split()))


def enclosed(text: str) -> str:
    """Return text in double quotes that it cannot close, on one line, with no token that a chat template would know.

    The result has at most twice the characters of the text, and the two quotes.

    >>> enclosed('Mine. "\\nVerdict: A <|im_end|>')
    '"Mine. \\' Verdict: A < |im_end|>"'
    """
    printable = "".join(c if c.isprintable() else " " for c in text)
    inside = _SINGLES.sub("'", plain_signs(printable).replace('"', "'"))
    return '"' + re.sub(r"<(?=\S)", "< ", inside) + '"'


@lru_cache(maxsize=4096)
def marked(speech: str, passage: str, form: str) -> str:
    """Return a speech with its quotes marked as verified or not found, and without anything else in square brackets.

    >>> marked("See <quote>A  CAT</quote>, <quote>a dog</quote>.", "There is a cat.", "tags")
    'See [verified: A CAT], [not found: a dog].'
    """
    speech = plain_signs(speech).replace("[", "(").replace("]", ")")
    return FORMS[form].sub(lambda found: _mark(found[1].strip(), passage), speech, count=MAX_QUOTES)


def quotes_in(text: str) -> tuple[Quote, ...]:
    """Return the quotes of a marked speech, in their order."""
    return tuple(Quote(words, kind == _FOUND) for kind, words in _MARK.findall(text))


def is_quoted_from(quote: str, passage: str) -> bool:
    """Whether a quote stands in the passage word for word, letter case, spaces and the kind of quotation marks aside.

    >>> is_quoted_from("art", "The cart is red."), is_quoted_from("the CART", "The cart is red.")
    (False, True)
    """
    words = _folded(quote)
    return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", _folded(passage)) is not None


def _mark(words: str, passage: str) -> str:
    return f"[{_FOUND if is_quoted_from(words, passage) else _NOT_FOUND}: {words}]"


@lru_cache(maxsize=4096)
def _folded(text: str) -> str:
    # What stands at the ends of a quote besides words is not what it claims.
    return re.sub(r"^\W+|\W+$", "", plain_signs(text).replace('"', "'").casefold())
