"""What runs, and what runs again: blocks, search, gates, precision. Pure.

blocks.py     makes blocks of trials from workload and servers, in a seeded random order
search.py     chooses the client count that a search tries next
capacity.py   chooses the rate that a search tries next
gates.py      decides which trials are rejected, and which figures are bounds
precision.py  decides when a session has enough blocks
"""

from .blocks import PER_CLIENT_S as PER_CLIENT_S
from .blocks import PER_MESSAGE_S as PER_MESSAGE_S
from .blocks import START_S as START_S
from .blocks import block as block
from .blocks import copies as copies
from .blocks import expected_s as expected_s
from .blocks import make as make
