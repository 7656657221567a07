"""What runs, and what runs again: blocks, search, gates, precision. Pure.

blocks.py     workload × servers → blocks of trials, in a random order from a seed
search.py     the breaking point: which client count to try next
gates.py      what rejects a trial, and what makes its figures bounds
precision.py  when a session has enough blocks
"""

from .blocks import PER_CLIENT_S as PER_CLIENT_S
from .blocks import PER_MESSAGE_S as PER_MESSAGE_S
from .blocks import START_S as START_S
from .blocks import block as block
from .blocks import copies as copies
from .blocks import expected_s as expected_s
from .blocks import make as make
