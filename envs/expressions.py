"""Arithmetic expressions: a parser and an exact evaluator of our own, safe for text that a model wrote.

Chosen: whole numbers, `+ - *`, a sign, parentheses; length, depth and digits are capped before and while reading, so
no text takes long or grows large. Left out: division, powers, names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from .quotes import enclosed
from .tasks import Malformed

MOST_LENGTH = 160
"""Characters of an expression."""
MOST_DEPTH = 12
"""Parentheses and signs inside one another."""
MOST_DIGITS = 6
"""Digits of a number."""
_TOKEN = re.compile(r"\s*([0-9]+|[-+*()])")


@dataclass(frozen=True, slots=True)
class Operation:
    """Two expressions and what joins them."""

    sign: str
    """`+`, `-` or `*`."""
    left: Expression
    right: Expression


Expression: TypeAlias = int | Operation


def parse(text: str) -> Expression:
    """Return the expression that a text is; `*` binds tighter, and equals group from the left.

    Raises Malformed, saying why.

    >>> evaluate(parse("2 + 3 * (4 - -1)"))
    17
    """
    if len(text) > MOST_LENGTH:
        raise Malformed(f"an expression has at most {MOST_LENGTH} characters")
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            strange = enclosed(text[at:].strip()[:8])
            raise Malformed(f"no expression has {strange} in it; use whole numbers, + - * and ()")
        if len(found[1]) > MOST_DIGITS:
            raise Malformed(f"a number has at most {MOST_DIGITS} digits")
        tokens.append(found[1])
        at = found.end()
    tree, end = _sum([*tokens, ""], 0, 0)
    if end != len(tokens):
        raise Malformed(f"an expression cannot go on with {tokens[end]!r}")
    return tree


def _sum(tokens: list[str], at: int, depth: int) -> tuple[Expression, int]:
    left, at = _product(tokens, at, depth)
    while tokens[at] in ("+", "-"):
        sign = tokens[at]
        right, at = _product(tokens, at + 1, depth)
        left = Operation(sign, left, right)
    return left, at


def _product(tokens: list[str], at: int, depth: int) -> tuple[Expression, int]:
    left, at = _atom(tokens, at, depth)
    while tokens[at] == "*":
        right, at = _atom(tokens, at + 1, depth)
        left = Operation("*", left, right)
    return left, at


def _atom(tokens: list[str], at: int, depth: int) -> tuple[Expression, int]:
    if depth > MOST_DEPTH:
        raise Malformed(f"an expression is at most {MOST_DEPTH} deep")
    token = tokens[at]
    if token.isdigit():
        return int(token), at + 1
    if token == "-":
        inner, at = _atom(tokens, at + 1, depth + 1)
        return (-inner if isinstance(inner, int) else Operation("-", 0, inner)), at
    if token != "(":
        raise Malformed(f"a number is missing {f'before {token!r}' if token else 'at the end'}")
    inner, at = _sum(tokens, at + 1, depth + 1)
    if tokens[at] != ")":
        raise Malformed("a parenthesis is not closed")
    return inner, at + 1


def evaluate(tree: Expression) -> int:
    """Return the value, exactly."""
    if isinstance(tree, int):
        return tree
    left, right = evaluate(tree.left), evaluate(tree.right)
    return left + right if tree.sign == "+" else left - right if tree.sign == "-" else left * right


def write(tree: Expression) -> str:
    """Return the expression as text, with no parentheses that it can do without.

    >>> write(parse("((1) + (2*3)) - (4 - 5)"))
    '1 + 2 * 3 - (4 - 5)'
    """
    if isinstance(tree, int):
        return str(tree)
    left, right = write(tree.left), write(tree.right)
    if tree.sign == "*" and _is_sum(tree.left):
        left = f"({left})"
    if tree.sign != "+" and _is_sum(tree.right):
        right = f"({right})"
    return f"{left} {tree.sign} {right}"


def _is_sum(tree: Expression) -> bool:
    return isinstance(tree, Operation) and tree.sign != "*"


def numbers(tree: Expression) -> list[int]:
    """Return the numbers of an expression, from left to right."""
    return [tree] if isinstance(tree, int) else numbers(tree.left) + numbers(tree.right)


def signs(tree: Expression) -> list[str]:
    """Return the signs of an expression, from left to right."""
    return [] if isinstance(tree, int) else [*signs(tree.left), tree.sign, *signs(tree.right)]


def canonical(tree: Expression) -> str:
    """Return the same text for expressions that differ in the order and grouping of sums and products only.

    >>> canonical(parse("3 - (1 - 2 * 5)")) == canonical(parse("5*2 + 3 - 1"))
    True
    """
    if isinstance(tree, int):
        return str(tree)
    if tree.sign == "*":
        return "*".join(sorted(_factors(tree)))
    return "(" + "".join(sorted(_terms(tree, 1))) + ")"


def _factors(tree: Expression) -> list[str]:
    if isinstance(tree, Operation) and tree.sign == "*":
        return _factors(tree.left) + _factors(tree.right)
    return [canonical(tree)]


def _terms(tree: Expression, way: int) -> list[str]:
    if isinstance(tree, Operation) and tree.sign != "*":
        return _terms(tree.left, way) + _terms(tree.right, way if tree.sign == "+" else -way)
    if isinstance(tree, int):
        return [f"{way * tree:+d}"]
    return [("+" if way > 0 else "-") + canonical(tree)]
