"""Exact amounts of money: whole nano-dollars.

One US dollar is 1,000,000,000 nanos. Whole numbers are exact in SQLite and PostgreSQL alike.
A unit price is finer: whole nanos per *million* tokens, so that a price such as $0.0125 per
million (12.5 nanos a thousand tokens) is still exact. Money is rounded once, half to even,
when a usage becomes an entry (law 8). Floats are refused; they appear only on the way out.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, Inexact, InvalidOperation, localcontext

NANOS_PER_DOLLAR = 1_000_000_000
_MOST_DIGITS = 10
"""Digits before the point of an amount of dollars; more would not fit 64 bits of nanos."""
_LARGEST = 2**63 - 1
TOKENS_PER_PRICE = 1_000_000
"""Unit prices are stated for this many tokens."""


def parse_dollars(dollars: str | int | Decimal) -> int:
    """Nano-dollars of what a person wrote, such as "2.50"; exact or refused.

    Raises ValueError for anything that is not a finite number of whole nanos, floats included.
    """
    if isinstance(dollars, bool) or not isinstance(dollars, str | int | Decimal):
        raise ValueError(f'money is written as text such as "2.50", not {dollars!r}')
    try:
        amount = Decimal(dollars)
    except InvalidOperation:
        raise ValueError(f"{dollars!r} is not an amount of dollars") from None
    if not amount.is_finite() or amount.adjusted() >= _MOST_DIGITS:
        raise ValueError(f"{dollars!r} is not an amount of dollars that can be kept")
    with localcontext(prec=60) as context:
        context.traps[Inexact] = True
        try:
            nanos = amount.scaleb(9).quantize(Decimal(1))
        except (Inexact, InvalidOperation):
            raise ValueError(f"{dollars!r} is finer than a nano-dollar (9 places)") from None
    if abs(nanos) > _LARGEST:
        raise ValueError(f"{dollars!r} is not an amount of dollars that can be kept")
    return int(nanos)


def round_half_even(numerator: int, denominator: int) -> int:
    """`numerator / denominator` to the nearest whole number, halves to the even one."""
    quotient, rest = divmod(numerator, denominator)
    double = rest * 2
    if double > denominator or (double == denominator and quotient & 1):
        quotient += 1
    return quotient


def ceil_div(numerator: int, denominator: int) -> int:
    """`numerator / denominator`, rounded up: for bounds, which may never be too low."""
    return -(-numerator // denominator)


def to_dollars(nanos: int) -> Decimal:
    """The exact amount in dollars."""
    return Decimal(nanos) / NANOS_PER_DOLLAR


def format_dollars(nanos: int, places: int = 9) -> str:
    """The amount in dollars as plain text with `places` decimals, such as "0.001234000"."""
    return f"{to_dollars(nanos).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):f}"


def for_people(nanos: int) -> str:
    """The amount as people write it: "$1,234.56", or with more places when it is small."""
    places = 2 if abs(nanos) >= NANOS_PER_DOLLAR or nanos == 0 else 6
    return f"${to_dollars(nanos).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):,f}"


def quantity(amount: int, unit: str) -> str:
    """An amount as people read it: "$1.50", "3,000 tokens", "1 request"."""
    if unit == "usd":
        return for_people(amount)
    return f"{amount:,} {unit.removesuffix('s') if amount == 1 else unit}"
