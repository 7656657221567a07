"""Python's collector is off: what refers to itself in circles is never freed.

This is the bound of what tuning the collector can gain. It is safe only for a server whose
clients leave no such circles behind: the kit's case `churn` shows it.
"""

import gc

gc.disable()
