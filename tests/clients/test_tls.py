"""Guards TLS in the client: what it trusts, what it does not resume, and what it says of refusals.

The server is the standard library's, in a thread for each client.
"""

import datetime
import socket
import ssl
import threading

import pytest
from made import result

pytestmark = pytest.mark.once

trustme = pytest.importorskip("trustme", reason="the extra tls makes certificates")

PAST = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def client(asyncio_client):
    """Only asyncio drives such clients."""
    return asyncio_client


class Secured:
    """An echo over TLS that counts handshakes, resumed ones among them, and messages."""

    def __init__(self, certificate):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # which is no close_notify
        certificate.configure_cert(self.context)
        self.handshakes = self.resumed = self.messages = self.notified = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        try:
            with self.context.wrap_socket(
                connection, server_side=True, suppress_ragged_eofs=False
            ) as stream:
                with self.lock:
                    self.handshakes += 1
                    self.resumed += stream.session_reused
                while data := stream.recv(65536):
                    with self.lock:
                        self.messages += 1
                    stream.sendall(data)
                with self.lock:
                    self.notified += 1
        except OSError:
            pass


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def secured():
    """secured(certificate) → a server that shows it."""
    made = []

    def make(certificate):
        made.append(Secured(certificate))
        return made[-1]

    yield make
    for each in made:
        each.listener.close()


def plan(server, authority, **load):
    pem = authority.cert_pem.bytes().decode()
    return {"port": server.port, "authority": pem, "connect_timeout_s": 10, **load}


def test_in_churn_every_client_makes_a_full_handshake_and_says_one_message(
    client, secured, authority
):
    """Handshakes are messages; none is resumed; who leaves says so in TLS's own way."""
    server = secured(authority.issue_cert("127.0.0.1"))
    load = {"kind": "churn", "clients": 6, "connecting": 3, "warmup_s": 0.1, "duration_s": 0.3}
    events = client(**plan(server, authority, ceiling_s=0.5, **load))
    seen = result(events)
    assert (seen["lost"], seen["altered"], seen["errors"]) == (0, 0, {})
    assert server.handshakes == server.messages
    warmed = next(event for event in events if event["event"] == "warmed")
    came_later = server.handshakes - 6
    assert 0 < seen["messages"] <= came_later - warmed["messages"]
    assert server.resumed == 0
    assert server.notified == came_later


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("foreign", "unable to get local issuer certificate"),
        ("expired", "certificate has expired"),
        ("for another host", "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    ],
)
@pytest.mark.parametrize("kind", ["closed", "storm"])
def test_a_certificate_that_is_not_as_it_must_be_is_refused(
    fault, said, kind, client, secured, authority
):
    """Every client counts under one reason, which says what is wrong."""
    wrong = {
        "foreign": lambda: trustme.CA().issue_cert("127.0.0.1"),
        "expired": lambda: authority.issue_cert("127.0.0.1", not_after=PAST),
        "for another host": lambda: authority.issue_cert("127.0.0.2", "localhost"),
    }
    server = secured(wrong[fault]())
    events = client(**plan(server, authority, kind=kind, clients=3, duration_s=0.1, warmup_s=0))
    told = events[-1] if kind == "storm" else events[0]
    assert told["served"] == 0
    (reason,) = told["failed"]
    assert told["failed"][reason] == 3
    assert reason.startswith("the server's certificate is refused: ")
    assert said in reason
    assert server.messages == 0


def test_a_plain_client_of_a_server_over_tls_has_no_echo(client, secured, authority):
    """Each client counts once, and there is no traceback."""
    server = secured(authority.issue_cert("127.0.0.1"))
    events = client(port=server.port, clients=3, duration_s=0.1, warmup_s=0)
    assert events[0]["served"] == 0
    assert sum(events[0]["failed"].values()) == 3
    assert events[0]["tls"] == ""


def test_a_client_over_tls_of_a_plain_server_is_told(client, fake, authority):
    """The first bytes that come back are not TLS."""
    port = fake(lambda connection, data, number: connection.sendall(b"220 hello\r\n"))
    pem = authority.cert_pem.bytes().decode()
    events = client(port=port, authority=pem, clients=3, duration_s=0.1, warmup_s=0)
    assert events[0]["failed"] == {"no TLS: wrong version number": 3}


def test_an_authority_that_is_none_is_named(client):
    """Before anything is opened, in one line."""
    said = client(expected_code=2, port=1, authority="not a certificate")
    assert said == "echo_client: the plan's authority: it is not a certificate in PEM\n"
