# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "hangs at start"
# model = "none"
# unit = "none"
# tier = "variant"
# ///
"""Never comes to accept."""

import sys
import time

print("still waiting for a licence", file=sys.stderr)
time.sleep(600)
