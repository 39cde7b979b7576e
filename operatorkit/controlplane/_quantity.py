"""Quantities, `500m` or `1Gi`, in the one form in which Kubernetes writes each.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal
from functools import lru_cache

__all__ = ["canonical", "parse"]

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]+)?",
    re.ASCII,
)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_NANO = Decimal("1e-9")
# Above this, decimal arithmetic has no digits left for a billionth, which no field needs.
_EXACT = Decimal("1e15")


def _split(text: str) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        pattern = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
        raise ValueError(f"quantities must match the regular expression '{pattern}'")
    return Decimal(match[1]), match[2] or ""


@lru_cache(maxsize=1024)
def parse(text: str) -> Decimal:
    """Return the value of a quantity. Raises ValueError, in Kubernetes' words, when it is none."""
    number, suffix = _split(text)
    if suffix in _BINARY:
        return number * Decimal(1024) ** _BINARY[suffix]
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix])
    return number.scaleb(int(suffix[1:]))


@lru_cache(maxsize=1024)
def canonical(text: str) -> str:
    """Return a quantity as Kubernetes writes it: no fraction, the largest suffix, of the family it was written in.

    Raises ValueError, in Kubernetes' words, when it is none.
    """
    _, suffix = _split(text)
    value = parse(text)
    if abs(value) < _EXACT:
        value = value.quantize(_NANO, rounding=ROUND_UP)
    if value == 0:
        return "0"
    if suffix in _BINARY and value == value.to_integral_value() and abs(value) >= 1024:
        return _largest_binary(int(value))
    exponent = _exponent_of_thousand(value)
    number = int(value.scaleb(-exponent))
    if suffix[:1] in {"e", "E"} and len(suffix) > 1 and suffix not in _BINARY:
        return f"{number}e{exponent}" if exponent else str(number)
    return str(number) + next(name for name, power in _DECIMAL.items() if power == exponent)


def _largest_binary(value: int) -> str:
    power = 0
    while value % 1024 == 0 and power < len(_BINARY):
        value //= 1024
        power += 1
    return f"{value}{list(_BINARY)[power - 1]}" if power else str(value)


def _exponent_of_thousand(value: Decimal) -> int:
    """Return the largest power of a thousand, as a power of ten, of which a value is a whole multiple."""
    exponent = 18
    while exponent > -9 and value.scaleb(-exponent) != value.scaleb(-exponent).to_integral_value():
        exponent -= 3
    return exponent
