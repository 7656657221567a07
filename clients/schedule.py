"""When each message of an open loop leaves, and from which client. No I/O, no clock.

Times are whole nanoseconds from the beginning of sending. They are computed ahead in short
chunks, so memory stays constant however long the run, and no chunk takes long to make.

poisson   One Poisson process at the total rate; each message is of a uniformly random client.
          This equals the sum of independent Poisson processes, one per client.
constant  Each client sends with the period clients/rate, from a random phase of its own: the
          clients follow one another in a fixed random order, at fixed, uneven distances.

Of a mix, the schedule says which request each message is, and not which client sends it: a
request leaves from a client that is free, and who is free depends on the server. The requests
are drawn apart from the times, so a mix does not change when messages leave.

The same seed and clients give the same schedule, whatever the chunks. Workers with the same
seed differ by their first client's id.
"""

from collections.abc import Sequence

import numpy as np
from plan import Arrivals


class Schedule:
    """The intended sends of one worker, in order, up to end_ns.

    rate: messages/s of all its clients together. Clients are numbered from 0. shares: those of
    a mix's requests, which are numbered from 0 as well; without a mix there are none.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        rate: float,
        clients: int,
        end_ns: int,
        seed: int,
        first_id: int,
        shares: Sequence[int] = (),
    ) -> None:
        self.clients = clients
        self.end_ns = end_ns
        self.gap_ns = 1e9 / rate
        self.made = 0  # messages in the chunks so far
        self.ended = clients == 0
        # Three streams of random numbers, so that none depends on how many another used.
        whens, whos, whats = np.random.SeedSequence([seed, first_id]).spawn(3)
        self._when = np.random.default_rng(whens)
        self._who = np.random.default_rng(whos)
        self._what = np.random.default_rng(whats)
        self._up_to = np.cumsum(shares) / max(sum(shares), 1)  # where each request's share ends
        self._next = {"poisson": self._poisson, "constant": self._constant}[arrivals]
        self._last_ns = 0
        if arrivals == "constant":
            self._phases_ns = np.sort(self._when.random(clients)) * (clients * self.gap_ns)
            self._order = self._who.permutation(clients)

    def chunk(self, messages: int) -> tuple[np.ndarray, np.ndarray]:
        """The next messages, at most this many; none at the end.

        Two arrays of int64: times in ns, and clients, or the requests of a mix.
        """
        if self.ended:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        times_ns, who = self._next(messages)
        if self._up_to.size:
            who = np.searchsorted(self._up_to, self._what.random(messages), side="right")
        if times_ns[-1] >= self.end_ns:
            self.ended = True
            within = int(np.searchsorted(times_ns, self.end_ns))
            times_ns, who = times_ns[:within], who[:within]
        self.made += times_ns.size
        return times_ns, who

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
