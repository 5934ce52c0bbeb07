"""How the lessons word a difference: what was seen in these rows, with its interval, and no cause."""

from __future__ import annotations

from edge_infer.rules import Metric


def finding(what: str, first: str, second: str, difference: Metric | None, where: str = "") -> str:
    """One difference as a clause: higher or lower where its interval leaves out zero, else the bound that it gives.

    Args:
        what: the figure, such as "AUC of melanoma".
        first, second: the two sides; the difference is first minus second.
        difference: with its 95 % interval.
        where: such as ", in the mean over 5 pairs"; stands before the numbers.
    """
    if difference is None or difference.low is None or difference.high is None:
        return f"the difference in {what} between {first} and {second}{where} has no interval ({by(difference)})"
    if difference.low > 0 or difference.high < 0:
        way = "higher" if difference.low > 0 else "lower"
        return f"{what} was {way} with {first} than with {second}{where} ({by(difference)})"
    bound = max(abs(difference.low), abs(difference.high))
    return (
        f"no difference in {what} larger than {bound:.3f} was found between {first} and {second}{where} "
        f"({by(difference)})"
    )


def by(difference: Metric | None) -> str:
    """A difference with its interval."""
    if difference is None:
        return "not known"
    text = f"{difference.value:+.3f}"
    if difference.low is None or difference.high is None:
        return text
    return f"{text}, {difference.low:+.3f} to {difference.high:+.3f}"


def opened(clause: str) -> str:
    """A clause as a sentence."""
    return f"{clause[0].upper()}{clause[1:]}."


def listed(parts: list[str]) -> str:
    """ "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
