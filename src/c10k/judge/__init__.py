"""From measurements to rows, ratios, ranks and verdicts. Pure.

figures.py     the figures of one trial, and what limited it
cells.py       a server under a load, over the blocks
rows.py        a session's rows: judge() is here
ranking.py     the servers under the loads of one kind, compared
warnings.py    what a reader must know before the numbers
scaling.py     what shows over several client counts
evidence.py    what two sides have of a figure; compare.py judges it, comparison.py says it
searches.py    two sides of searches
stats.py       textbook statistics on arrays; samples.py the same for one row's samples
"""

from .cells import accepted as accepted
from .cells import by_block as by_block
from .cells import floor as floor
from .cells import ratio_of as ratio_of
from .cells import spread as spread
from .rows import PERCENTILES as PERCENTILES
from .rows import judge as judge
