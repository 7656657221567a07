"""The command line. A module for each group of commands; words.py reads words, console.py prints.

Nothing below this package imports it, and it decides nothing that is not about words.
"""

from . import claims as claims
from . import compare as compare
from . import contenders as contenders
from . import explain as explain
from . import machines as machines
from . import results as results
from . import run as run
from .app import app as app
from .app import main as main
