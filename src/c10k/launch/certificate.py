"""The certificate of servers that speak TLS: made when the first one starts, gone at the end.

trustme makes an authority for this process, and with it one certificate for each host that
servers listen on. Certificate and private key are files in this process's temporary folder,
which the keeper removes however the process ends. The authority's own key is never written.
"""

import socket
import ssl
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from .. import paths
from ..errors import os_reason
from . import keeper

LOCAL = ("localhost", "127.0.0.1", "::1")


class Certificate(NamedTuple):
    """A server's certificate, and what a client needs to verify it."""

    chain: Path  # the certificate, PEM
    key: Path  # its private key, PEM, readable by this user only
    authority: Path  # the only authority that a client is to trust, PEM
    name: str  # of the host, which a client verifies

    @property
    def environment(self) -> dict[str, str]:
        """The variables that tell a server where its files are."""
        return {"C10K_CERTIFICATE": str(self.chain), "C10K_KEY": str(self.key)}

    def wrap(self, client: socket.socket) -> ssl.SSLSocket:
        """A client's connection over TLS, before its handshake, which verifies the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.authority)
        return context.wrap_socket(client, server_hostname=self.name, do_handshake_on_connect=False)


def why_none() -> str:
    """Why no certificate can be made here, with what to do; "" when one can."""
    if find_spec("trustme") is None:
        return f"TLS needs trustme, which is not installed: {paths.pip_install('trustme')}"
    return ""


def for_host(host: str) -> Certificate:
    """The certificate for servers on this host and on localhost, made when first needed.

    host: a name or an address; "" for a UNIX socket. Raises OSError when it cannot be written.
    """
    folder = keeper.keeper().folder / "tls"
    name = host.partition("%")[0] or "localhost"  # without the scope of a link-local address
    own = folder / name
    found = Certificate(own / "chain", own / "key", own / "authority", name)
    if not own.is_dir():
        folder.mkdir(mode=0o700, exist_ok=True)
        _make(found)
    return found


def _make(wanted: Certificate) -> None:
    import trustme  # an extra, and slow to import

    authority = trustme.CA()
    issued = authority.issue_cert(*dict.fromkeys((wanted.name, *LOCAL)))
    wanted.key.parent.mkdir(mode=0o700)
    wanted.authority.write_bytes(authority.cert_pem.bytes())
    wanted.chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    wanted.key.touch(mode=0o600, exist_ok=False)
    wanted.key.write_bytes(issued.private_key_pem.bytes())


def why_no_handshake(error: OSError) -> str:
    """Why a handshake failed, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        said = error.reason.replace("_", " ").lower()
    else:
        said = os_reason(error)
    return f"no TLS handshake: {said}; does it speak TLS?"
