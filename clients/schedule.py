"""When each message of an open loop leaves, and from which client. No I/O, no clock.

Times are whole nanoseconds from the beginning of sending. They are computed ahead in short
chunks, so memory stays constant however long the run, and no chunk takes long to make.

poisson   One Poisson process at the total rate; each message is of a uniformly random client.
          This equals the sum of independent Poisson processes, one per client.
constant  Each client sends with the period clients/rate, from a random phase of its own: the
          clients follow one another in a fixed random order, at fixed, uneven distances.

The same seed and clients give the same schedule, whatever the chunks. Workers with the same
seed differ by their first client's id.
"""

import numpy as np
from plan import Arrivals


class Schedule:
    """The intended sends of one worker, in order, up to end_ns.

    rate: messages/s of all its clients together. Clients are numbered from 0.
    """

    def __init__(
        self, arrivals: Arrivals, rate: float, clients: int, end_ns: int, seed: int, first_id: int
    ) -> None:
        self.clients = clients
        self.end_ns = end_ns
        self.gap_ns = 1e9 / rate
        self.made = 0  # messages in the chunks so far
        self.ended = clients == 0
        # Two streams of random numbers, so that neither depends on how many the other used.
        whens, whos = np.random.SeedSequence([seed, first_id]).spawn(2)
        self._when = np.random.default_rng(whens)
        self._who = np.random.default_rng(whos)
        self._next = {"poisson": self._poisson, "constant": self._constant}[arrivals]
        self._last_ns = 0
        if arrivals == "constant":
            self._phases_ns = np.sort(self._when.random(clients)) * (clients * self.gap_ns)
            self._order = self._who.permutation(clients)

    def chunk(self, messages: int) -> tuple[np.ndarray, np.ndarray]:
        """The next messages, at most this many: (times in ns, clients), int64; none at the end."""
        if self.ended:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        times_ns, clients = self._next(messages)
        if times_ns[-1] >= self.end_ns:
            self.ended = True
            within = int(np.searchsorted(times_ns, self.end_ns))
            times_ns, clients = times_ns[:within], clients[:within]
        self.made += times_ns.size
        return times_ns, clients

    def _poisson(self, messages: int) -> tuple[np.ndarray, np.ndarray]:
        # Gaps in whole ns add up exactly; rounding them does not change the rate.
        gaps_ns = np.rint(self._when.exponential(self.gap_ns, messages)).astype(np.int64)
        times_ns = self._last_ns + np.cumsum(gaps_ns)
        self._last_ns = int(times_ns[-1])
        return times_ns, self._who.integers(0, self.clients, messages)

    def _constant(self, messages: int) -> tuple[np.ndarray, np.ndarray]:
        rounds, place = np.divmod(np.arange(self.made, self.made + messages), self.clients)
        # Below 2**53 ns (104 days) a double holds these sums to a nanosecond.
        times_ns = np.rint(rounds * (self.clients * self.gap_ns) + self._phases_ns[place])
        return times_ns.astype(np.int64), self._order[place]
