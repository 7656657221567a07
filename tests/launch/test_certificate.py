"""Guards that a server's TLS is verified at its start, and what is said where it is wrong."""

import datetime
import functools

import pytest

from c10k import launch, paths
from c10k.declare import catalog

trustme = pytest.importorskip("trustme", reason="the extra tls makes certificates")

pytestmark = pytest.mark.once

TLS = paths.SERVERS / "tls" / "asyncio_tls.py"
PAST = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
OWN = """
import trustme
trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
"""


def written(tmp_path, text):
    file = tmp_path / "some_server.py"
    file.write_text(text)
    return catalog.read(file)


def why_not(server, tmp_path, **options):
    """Why a server does not serve, in one line; and that nothing of it is left."""
    with pytest.raises(launch.NotServing) as caught:
        launch.start(server, tmp_path / "log", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_certificate_of_another_authority_is_refused(tmp_path):
    """What the server was given does not count: what it shows does."""
    loads = 'context.load_cert_chain(os.environ["C10K_CERTIFICATE"], os.environ["C10K_KEY"])\n'
    source = TLS.read_text(encoding="utf-8")
    assert loads in source
    said = why_not(written(tmp_path, source.replace(loads, OWN)), tmp_path)
    assert said.startswith("its certificate is refused: ")
    assert "issuer certificate" in said


def test_an_expired_certificate_is_refused(tmp_path, monkeypatch):
    """Made for an address of its own, as each host's is kept."""
    expired = functools.partialmethod(trustme.CA.issue_cert, not_after=PAST)
    monkeypatch.setattr(trustme.CA, "issue_cert", expired)
    said = why_not(catalog.read(TLS), tmp_path, bind="127.0.0.77:0")
    assert said == "its certificate is refused: certificate has expired"


def test_a_plain_server_that_declares_tls_is_refused(tmp_path):
    """It echoes the client's hello, which no server says."""
    source = (paths.SERVERS / "asyncio_streams.py").read_text(encoding="utf-8")
    plain = source.replace("# tier =", "# tls = true\n# tier =")
    said = why_not(written(tmp_path, plain), tmp_path)
    assert said.startswith("no TLS handshake: ")
    assert said.endswith("; does it speak TLS?")


def test_a_server_over_tls_that_does_not_declare_it_is_refused(tmp_path):
    """It gets no certificate, so its own last words name what it misses."""
    source = TLS.read_text(encoding="utf-8").replace("# tls = true\n", "")
    said = why_not(written(tmp_path, source), tmp_path)
    assert said.startswith("the server exited with code 1: KeyError: 'C10K_CERTIFICATE'")
