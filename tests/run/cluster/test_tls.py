"""Guards that Dask's own TLS settings hold for a session."""

from datetime import UTC, datetime, timedelta

import pytest
from command import c10k
from scattered import Loopback, workload


def test_tls_shuts_the_cluster_to_whoever_has_no_certificate(tmp_path):
    """With Dask's own TLS settings a session runs; without a certificate nobody is let in."""
    pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    pytest.importorskip("cryptography", reason="makes the certificates")
    certificate, key = certificates(tmp_path)
    settings = {
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": certificate,
        **{
            f"DASK_DISTRIBUTED__COMM__TLS__{who}__{what}": file
            for who in ("SCHEDULER", "WORKER", "CLIENT")
            for what, file in (("CERT", certificate), ("KEY", key))
        },
    }
    files = ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]
    started = Loopback(tmp_path, "tls", files)
    try:
        assert started.address.startswith("tls://")
        started.worker("srv", "server=1")
        started.worker("c1", "client=1")
        started.await_hosts(2, environment=settings)
        words = ["run", workload(tmp_path), "--unchecked", "--scheduler", started.address]
        c10k(*words, "--out", tmp_path / "s", environment=settings)
        plain = c10k("cluster", started.address.replace("tls", "tcp"), code=2)
        assert "no scheduler answers" in plain.stderr
    finally:
        started.close()


def certificates(folder):
    """A certificate that signs itself, and its key: the files' names."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "c10k")])
    now = datetime.now(UTC)
    made_of = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made_of.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")
