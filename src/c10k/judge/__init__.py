"""From measurements to rows, ratios, ranks and verdicts. Pure.

figures.py     the figures of one trial, and what limited it
sharing.py     how evenly its server's processes or threads were used
cells.py       the trials of one server under one load, over the blocks
rows.py        the rows of a session; defines judge()
ranking.py     compares the servers under the loads of one kind
warnings.py    what a reader must know before the numbers
scaling.py     memory per client, and the breaking point, from several client counts
evidence.py    a figure's values on two sides, with their interval and p
compare.py     compares two sides and gives verdicts
comparison.py  builds the result of a comparison, with its warnings and advice
searches.py    compares two sides that are searches
stats.py       textbook statistics on arrays
samples.py     the same for the samples of one trial or row
"""

from .cells import accepted as accepted
from .cells import by_block as by_block
from .cells import floor as floor
from .cells import ratio_of as ratio_of
from .cells import spread as spread
from .rows import PERCENTILES as PERCENTILES
from .rows import judge as judge
