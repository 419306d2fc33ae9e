"""The judge that needs no model: verified quotes decide, by the words they share with an answer and the question.

Chosen: who said it does not matter, only what the passage says; short of that, whoever misquoted is trusted less. Left
out: what debaters say in their own words, which this judge does not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .judging import Case, Verdict
from .quotes import quotes_in

MISQUOTED = 0.1
"""What one quote more than the other side's that is not in the passage takes off a seat's probability."""
MOST_MISQUOTES = 4
_STOP = frozenset(
    "a an and are as at be been by did do does for from had has have how in into is it its must of on or so that the "
    "their them they this to was were what when where which who whoever whom whose why will with".split()
)


class QuoteJudge:
    """Finds for the answer that verified quotes support most; abstains where nothing speaks for either.

    A sentence supports an answer by the share of the answer's own words in it times the share of the question's. An
    answer is as well supported as by its best sentence, whichever seat quoted it; `p` is a half, plus half the
    difference of the two. A pure function of the case, and the same when the seats are swapped.
    """

    name = "rule"

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """Return one verdict a case."""
        return [_decide(case) for case in cases]


def support(case: Case, seat: int, sentences: Iterable[str]) -> float:
    """Return how well the best of some sentences supports the answer of a seat, 0 to 1."""
    ours, theirs = words_of(case.answers[seat]), words_of(case.answers[1 - seat])
    own = ours - theirs or ours
    asked = words_of(case.question) - ours - theirs
    shares = [_share(own, words) * _share(asked, words) for words in map(words_of, sentences)]
    return max(shares, default=0.0)


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text that say something, plurals as singulars.

    >>> sorted(words_of("The ferries of Tammet burn dried kelp."))
    ['burn', 'dried', 'ferrie', 'kelp', 'tammet']
    """
    words = re.findall(r"\w+", text.casefold())
    return frozenset(word.removesuffix("s") for word in words if word not in _STOP)


def _decide(case: Case) -> Verdict:
    quotes = [(statement.seat, quote) for statement in case.statements for quote in quotes_in(statement.text)]
    texts = [case.evidence, *(quote.text for _, quote in quotes if quote.is_found)]
    # One by one, or quoting the whole passage would support everything.
    sentences = [sentence for text in texts for sentence in re.split(r"[.!?;]", text)]
    difference = support(case, 0, sentences) - support(case, 1, sentences)
    if difference:
        return Verdict(p=0.5 + difference / 2)
    false = [sum(seat == which and not quote.is_found for seat, quote in quotes) for which in (0, 1)]
    more = max(-MOST_MISQUOTES, min(MOST_MISQUOTES, false[1] - false[0]))
    return Verdict(p=0.5 + MISQUOTED * more, abstained=not more)


def _share(wanted: frozenset[str], words: frozenset[str]) -> float:
    return len(wanted & words) / len(wanted) if wanted else 1.0
