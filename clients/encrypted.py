"""TLS: what the server is verified with, and the clients that write through TLS.

A plain client writes directly to its descriptor. Over TLS only the transport may do so, as
it encrypts. So these clients hand it every message, which costs more. The loop makes the
handshake before a client's connection counts as made.
"""

import ssl
from time import perf_counter_ns as clock

from conversations import Conversation
from pacing import Paced, Pacer
from plan import Plan, PlanError


def context(plan: Plan) -> ssl.SSLContext | None:
    """What every connection is made with; None without TLS. Raises PlanError.

    Only the plan's authority is trusted. No session is resumed, because none is kept.
    """
    if not plan.authority:
        return None
    if plan.mix:
        raise PlanError("a mix of requests cannot be sent over TLS")
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.options |= ssl.OP_NO_TICKET
    try:
        found.load_verify_locations(cadata=plan.authority)
    except (ssl.SSLError, ValueError):
        raise PlanError("the plan's authority: it is not a certificate in PEM") from None
    return found


def negotiated(client: Conversation) -> str:
    """The protocol and the cipher of a client's connection, as OpenSSL names them."""
    cipher, protocol, _ = client.transport.get_extra_info("cipher")
    return f"{protocol} {cipher}"


class Encrypted(Conversation):
    """A client of the closed loop, of idle, storm and churn."""

    def say(self, now_ns: int) -> None:
        if self.ended:
            return
        self.sent_ns = now_ns
        self.expected = self.prefix + self.number.to_bytes(8, "little")
        self.transport.write(self.expected)

    def data_received(self, data: bytes) -> None:
        self.piece(data, clock())


class EncryptedPaced(Paced):
    """A client of the open loop: every message goes into the transport's queue."""

    def __init__(self, pacer: Pacer, ident: int, filler: bytes) -> None:
        super().__init__(pacer, ident, filler)
        self.queued = True

    def must_queue(self) -> bool:
        return True
