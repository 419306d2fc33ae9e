"""What counts as saying a word: inflections and disguises do, other words do not."""

from __future__ import annotations

import pytest

from sparring.envs.word_forms import inflections, says
from sparring.envs.word_lists import shipped

SAID = """
car: car|CAR|cars|Car's|a car, please|(car)|car-wash|ca-r|c-a-r|c.a.r|c a r|C, A, R|c4r|c@r|caaaar|cár|ｃａｒ|саr
box: boxes|boxed|boxing|b0x|B-O-X
bus: buses|bus5
berry: berries|berried
baby: babies|babied|babying
stomach: stomachs
peach: peaches
potato: potatoes|potatos
piano: pianos
knife: knives|knifes
leaf: leaves
tooth: teeth
goose: geese|g00se|gooose|geeese
mouse: mice|mouse
fireman: firemen
star: starred|starring
rope: roped|roping
tie: tied|tying|ties
fly: flies|flew|flown|flying
swing: swung|swinging
bear: bore|bears
quiz: quizzes|quizzed
dish: dishes
glass: glasses|gla55
shell: shells|she11|sh-ell
balloon: ball00n|bal1oon|ba11oons|ballo_on
apple: 4pple|a p p l e s|the letters are a p p l e|ä p p l e|ap*ple|аррlе|apple’s
ice: ice|1ce|i-c-e
strawberry: strawberries
"""
NOT_SAID = """
car: card|care|caring|cared|scar|oscar|carpet|cart|ca r|c ar|rac|she can| |7 4
art: start|party|article
corn: corner|unicorn
moth: mother
bat: batter|bath|tab
star: stare|stared|staring|start
rose: rise|risen|roster
bee: been|beer|beef|be|8 33
fee: feed
saw: was|sawn off
shell: she'll|hell|she will
well: we'll
bowl: Take a bow!|bow|owl
bus: but|busy|business
sos: 505
apple: pineapple|applesauce|ap ple|elppa|app|a pp le|an orange
tie: tile|tired
ring: string|bring|during
sun: sung|sunday|nus
cab: I, a bee|a b|b a c
ham: hammer
pan: panel|nap
"""


def cases(text: str) -> list[tuple[str, str]]:
    lines = (line.split(": ", 1) for line in text.strip().split("\n"))
    return [(word, said) for word, all_said in lines for said in all_said.split("|")]


@pytest.mark.parametrize(("word", "text"), cases(SAID))
def test_this_says_the_word(word: str, text: str) -> None:
    assert says(text, word)
    assert says(f"Well, {text}, I suppose.", word)


@pytest.mark.parametrize(("word", "text"), cases(NOT_SAID))
def test_this_does_not(word: str, text: str) -> None:
    assert not says(text, word)
    assert not says(f"Well, {text} then.", word) or word == "well"


def test_an_inflection_says_every_word_it_may_be_of() -> None:
    """ "Found" may be of "to find" and of "to found": a listener cannot know which."""
    assert says("I found it", "find")
    assert says("I found it", "found")


def test_no_word_of_our_lists_says_another_one() -> None:
    """A defender that names any other word of the list is safe."""
    for name in ("nouns", "few"):
        words = shipped(name).words
        forms = {word: inflections(word) for word in words}
        clashes = [(a, b) for a in words for b in words if a != b and a in forms[b]]
        assert clashes == []


def test_time_is_linear_in_the_text() -> None:
    """Counted, not timed: a long text of the pattern's own pieces is searched once, without a stack of attempts."""
    for piece in ("a-", "ap-", "a p p l ", "aaaa", "appl", "-" * 5, "a.p.p.l."):
        assert not says(piece * 2000, "apple")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Mind the stair.", "stairs"),
        ("One scissor blade.", "scissors"),
        ("At the theatre.", "theater"),
        ("Two theaters.", "theatre"),
        ("An ax.", "axe"),
        ("A racquet.", "racket"),
        ("Aeroplanes fly.", "airplane"),
        ("A c\u034far.", "car"),
        ("A c\ufe0far.", "car"),
        ("A \u1d04\u1d00\u0280.", "car"),
        ("A \U0001f1e8\U0001f1e6\U0001f1f7.", "car"),
        ("A c\u00adar.", "car"),
        ("A c\u115far.", "car"),
        ("The \ua7afueen.", "queen"),
        ("A jean, a glass, a potato.", "jeans"),
        ("A jean, a glass, a potato.", "glasses"),
        ("A jean, a glass, a potato.", "potatoes"),
        ("One berry.", "berries"),
        ("Two theaters.", "theatres"),
        ("An axe.", "axes"),
        ("s t a i r", "stairs"),
        ("t-h-e-a-t-r-e", "theater"),
    ],
)
def test_other_numbers_spellings_and_letters_are_the_word(text, word):
    assert says(text, word)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("A star.", "stairs"),
        ("A taxi.", "axe"),
        ("Grains.", "gray"),
        ("A new one.", "news"),
        ("Bu, ga and gla.", "bus"),
        ("Gla.", "glass"),
        ("A din.", "tennis"),
    ],
)
def test_other_words_are_not(text, word):
    assert not says(text, word)
