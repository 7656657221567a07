"""Decides when a session has enough blocks (--precision, --max-blocks, --time). Pure."""

from ..model import Goal, Judged


def why_enough(judged: Judged, goal: Goal, blocks: int, elapsed_s: float, block_s: float) -> str:
    """Why no further block is run, in words; "" when another one is needed.

    block_s: the duration of a block, so that a session does not exceed its time.
    """
    width = widest(judged)
    known = f"within {width:.1%} of its ratio" if width < float("inf") else "not known yet"
    reached = f"the widest interval is {known}"
    if width <= goal.precision:
        return f"{blocks} blocks: {reached}, as asked for"
    if blocks >= goal.max_blocks:
        return f"{blocks} blocks, as many as allowed: {reached}, {goal.precision:.1%} was asked for"
    if goal.time_s is not None and elapsed_s + block_s > goal.time_s:
        return f"{blocks} blocks, no time for more: {reached}, {goal.precision:.1%} was asked for"
    return ""


def widest(judged: Judged) -> float:
    """The greatest half-width of any ratio's interval, as a share; infinite when one is unknown."""
    widths = []
    for row in judged.rows:
        if row.ratio is None:
            continue
        low, high = row.ratio.low, row.ratio.high
        if low is None or high is None:
            return float("inf")
        widths.append(max(high / row.ratio.median, row.ratio.median / low) - 1)
    return max(widths, default=float("inf"))
