"""Distributions that rules of statistics are tried on."""

from collections.abc import Callable

import numpy as np

RUNS = 2000

Draw = Callable[[np.random.Generator, int], np.ndarray]
DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy": lambda rng, n: rng.standard_t(2, size=n),
    "one wild": lambda rng, n: rng.normal(size=n) * np.where(rng.random(n) < 0.1, 10, 1),
}
