"""Whether a text says a word: the word itself, an inflection of it, or either of them disguised.

Chosen: the inflections are made from the word and looked for as whole words, so that "card" is not "car" and "caring"
is "care" only; disguises are those that a reader sees through at once. Left out: derivations ("farmer"), longer words
that hold the word ("pineapple"), parts with spaces between them ("pine apple"), the word backwards, translations.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

VOWELS = "aeiou"
# Plurals that no rule makes: each form brings the others along.
NOUNS = """
man men|woman women|child children|person people|foot feet|tooth teeth|goose geese|mouse mice|louse lice|ox oxen
die dice|penny pence pennies|knife knives|wife wives|life lives|leaf leaves|loaf loaves|shelf shelves|elf elves
self selves|half halves|calf calves|wolf wolves|thief thieves|hoof hooves|scarf scarves|dwarf dwarves|sheaf sheaves
wharf wharves|cactus cacti|fungus fungi|nucleus nuclei|radius radii|medium media|datum data|crisis crises|oasis oases
axis axes|thesis theses|analysis analyses|criterion criteria|sheep sheep|deer deer|fish fish|series series
"""
# Words that are written in two ways; each brings the other along.
SPELLINGS = """
theater theatre|axe ax|racket racquet|airplane aeroplane|color colour|gray grey|tire tyre|plow plough|donut doughnut
pajamas pyjamas|yogurt yoghurt|whiskey whisky|mustache moustache|jewelry jewellery|center centre|harbor harbour
armor armour|fiber fibre|curb kerb|mold mould|catalog catalogue|check cheque|story storey|jail gaol|cozy cosy
"""
# Verbs, the infinitive first, which alone brings the others along: a rose is not said by "rise".
VERBS = """
be am is are was were been being|have has had having|do does did done doing|go goes went gone going|bear bore borne
beat beat beaten|begin began begun|bend bent|bind bound|bite bit bitten|bleed bled|blow blew blown|break broke broken
breed bred|bring brought|build built|buy bought|catch caught|choose chose chosen|cling clung|come came|creep crept
deal dealt|dig dug|draw drew drawn|drink drank drunk|drive drove driven|eat ate eaten|fall fell fallen|feed fed
feel felt|fight fought|find found|flee fled|fly flew flown|forget forgot forgotten|freeze froze frozen|get got gotten
give gave given|grow grew grown|hang hung|hear heard|hide hid hidden|hold held|keep kept|know knew known|lay laid
lead led|leave left|lend lent|lie lay lain|light lit|lose lost|make made|mean meant|meet met|pay paid|ride rode ridden
ring rang rung|rise rose risen|run ran|say said|see saw seen|seek sought|sell sold|send sent|shake shook shaken
shine shone|shoot shot|show shown|shrink shrank shrunk|sing sang sung|sink sank sunk|sit sat|sleep slept|slide slid
speak spoke spoken|spend spent|spin spun|spring sprang sprung|stand stood|steal stole stolen|stick stuck|sting stung
strike struck|swear swore sworn|sweep swept|swim swam swum|swing swung|take took taken|teach taught|tear tore torn
tell told|think thought|throw threw thrown|wake woke woken|wear wore worn|weave wove woven|weep wept|win won
wind wound|write wrote written|cut cut|cast cast|cost cost|hit hit|hurt hurt|let let|put put|set set|shed shed
shut shut|split split|spread spread|wed wed
"""
# A form that is made by rule and is another, commoner word.
NOT_FORMS = {"fee": {"feed"}, "wee": {"weed"}, "even": {"evening"}, "news": {"new"}, "lens": {"len"}, "mars": {"mar"}}
# Digits and signs that pass for a letter. None that ends a sentence: "Take a bow!" is no bowl.
LOOKALIKES = {
    "a": "4@",
    "b": "8",
    "e": "3€",
    "g": "9",
    "i": "1|",
    "l": "1|",
    "o": "0",
    "s": "5$",
    "t": "7",
    "z": "2",
}
# Cyrillic and Greek letters that look like Latin ones; accents and wide letters are undone by Unicode itself.
HOMOGLYPHS = str.maketrans("авсԁеѕіјӏкмпорԛгтиԝхуһαβεικνορτυχ", "abcdesijlkmnopqrtuwxyhabeiknoptux")
# Small capitals, and the letters that flags and signs are made of.
CAPITALS = str.maketrans(
    dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqrstuvwyz", strict=True))
    | {chr(start + n): chr(97 + n) for start in (0x1F1E6, 0x1F170, 0x1F150) for n in range(26)}
)
FILLERS = "\u115f\u1160"
"""Letters to Unicode, nothing to the eye; other fillers are forms of these."""
_JOINT = r"[-_.·*~/\\^]{0,3}"
"""What may stand between the letters of a word within one piece of text. No apostrophe: "she'll" is not "shell"."""
_SPELLED = re.compile(r"(?<![a-z0-9])[a-z0-9@$](?:[^a-z0-9@$']{1,3}[a-z0-9@$](?![a-z0-9]))+")
_STRETCHED = re.compile(r"([a-z])\1{2,}")


def _groups(text: str) -> list[list[str]]:
    return [group.split() for group in re.split(r"[|\n]", text.strip())]


OTHERS = {form: group for group in _groups(SPELLINGS) for form in group}
PLURALS = {form: group for group in _groups(NOUNS) for form in group}
PARTICIPLES = {group[0]: group for group in _groups(VERBS)}


@lru_cache(maxsize=4096)
def inflections(word: str) -> frozenset[str]:
    """Return the word and its inflections: the other number, the verb forms in -s, -ed and -ing; in both its spellings.

    >>> sorted(inflections("berry"))
    ['berried', 'berries', 'berry', 'berrying']
    >>> "card" in inflections("car") or "caring" in inflections("car")
    False
    >>> "stair" in inflections("stairs"), "theatre" in inflections("theaters"), "new" in inflections("news")
    (True, True, False)
    """
    numbers = (word, *_singulars(word))
    return frozenset(form for one in numbers for spelling in OTHERS.get(one, [one]) for form in _forms(spelling))


def _forms(word: str) -> frozenset[str]:
    past = PARTICIPLES.get(word, (_past(word),))
    forms = {word, *PLURALS.get(word, ()), *past, *_plurals(word), f"{_before_ing(word)}ing"}
    if word.endswith("man"):
        forms.add(f"{word[:-2]}en")
    return frozenset(forms - NOT_FORMS.get(word, set()))


def _singulars(word: str) -> frozenset[str]:
    """Return what a plural may be the plural of: of "axes" both "ax" and "axe". Left out: plurals in -us and -is."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return frozenset()
    words = {word[:-1]}
    if word.endswith("ies"):
        words.add(f"{word[:-3]}y")
    if word.endswith(("ses", "xes", "zes", "shes", "ches", "oes")):
        words.add(word[:-2])
    return frozenset(words - NOT_FORMS.get(word, set()))


def _plurals(word: str) -> tuple[str, ...]:
    if word.endswith(("s", "x", "sh")):
        return (f"{word}es",)
    if word.endswith("z"):
        return f"{word}es", f"{word}zes"
    if word.endswith(("o", "ch")):
        # Potatoes and pianos, peaches and stomachs.
        return f"{word}s", f"{word}es"
    if word.endswith("y") and word[-2:-1] not in VOWELS:
        return (f"{word[:-1]}ies",)
    return (f"{word}s",)


def _past(word: str) -> str:
    if word.endswith("e"):
        return f"{word}d"
    if word.endswith("y") and word[-2:-1] not in VOWELS:
        return f"{word[:-1]}ied"
    return f"{_doubled(word)}ed"


def _before_ing(word: str) -> str:
    if word.endswith("ie"):
        return f"{word[:-2]}y"
    if word.endswith("e") and not word.endswith(("ee", "oe", "ye")):
        return word[:-1]
    return _doubled(word)


def _doubled(word: str) -> str:
    """Double the last letter of a word of one syllable that ends in consonant, vowel, consonant: "starred"."""
    is_short = len(re.findall(r"[aeiouy]+", word)) == 1
    closed = re.search(r"(?:[^aeiou]|qu)[aeiouy][^aeiouwxy]$", f"-{word}")
    return word + word[-1] if is_short and closed else word


def fold(text: str) -> str:
    """Return the text in small plain letters: no accents, no wide letters, no letters of look-alike alphabets.

    >>> fold("ÄPFEL \uff41\u0440\u0440le")
    'apfel apple'
    """
    apart = unicodedata.normalize("NFKD", text.casefold())
    # Marks, the invisible ones too, are no letters: nobody reads them as one.
    letters = "".join(c for c in apart if unicodedata.category(c) not in ("Mn", "Me", "Cf") and c not in FILLERS)
    return letters.translate(CAPITALS).translate(HOMOGLYPHS)


def says(text: str, word: str) -> bool:
    """Return whether a text says a word, an inflection of it, or one of them disguised.

    A disguise is: capitals, accents, look-alike letters and digits ("4pple"), letters apart ("a p p l e", "a-p-p-l-e"),
    a break within ("ap-ple"), letters drawn out ("aaapple").

    >>> says("Two CARS, please.", "car"), says("A card.", "car"), says("c-4-r", "car"), says("It was", "saw")
    (True, False, True, False)
    """
    folded = fold(text)
    whole, spelled = _patterns(word)
    if _heard(whole, folded):
        return True
    if _STRETCHED.search(folded) and any(_heard(whole, _STRETCHED.sub(by, folded)) for by in (r"\1", r"\1\1")):
        return True
    runs = (re.sub(r"[^a-z0-9@$]", "", run) for run in _SPELLED.findall(folded))
    return len(word) > 2 and any(_heard(spelled, run) for run in runs)


def _heard(pattern: re.Pattern[str], text: str) -> bool:
    """Whether there is a match with a letter in it: "505" is a number and no "sos"."""
    return any(re.search("[a-z]", match[0]) for match in pattern.finditer(text))


@lru_cache(maxsize=4096)
def _patterns(word: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return patterns of the word's forms as whole words, and of them anywhere in a run of single letters."""
    forms = sorted(map(fold, inflections(word)), key=lambda form: (-len(form), form))
    joined = "|".join(_JOINT.join(map(_letter, form)) for form in forms)
    spelled = "|".join("".join(map(_letter, form)) for form in forms if len(form) > 2)
    return re.compile(rf"(?<![a-z])(?:{joined})(?![a-z])"), re.compile(spelled)


def _letter(letter: str) -> str:
    return f"[{re.escape(letter + LOOKALIKES.get(letter, ''))}]"
