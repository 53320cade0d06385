"""A provider behind TLS, with a certificate that it signed itself."""

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import SHUT_RDWR, socket

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from upstream import Script, Upstream


def write_certificate(folder: Path) -> Path:
    """A file with a certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = builder.add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(secret + builder.sign(key, hashes.SHA256()).public_bytes(pem))
    return path


class TlsUpstream(Upstream):
    """The provider of `upstream`, behind TLS."""

    def __init__(self, script: Script, certificate: Path) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate)
        super().__init__(script)
        self.url = self.url.replace("http:", "https:")

    def _serve(self, connection: socket) -> None:
        with suppress(OSError), self._context.wrap_socket(connection, server_side=True) as wrapped:
            super()._serve(wrapped)
            wrapped.shutdown(SHUT_RDWR)


@contextmanager
def serving_tls(script: Script, certificate: Path) -> Iterator[TlsUpstream]:
    """A provider behind TLS that is there while the block runs."""
    upstream = TlsUpstream(script, certificate)
    try:
        yield upstream
    finally:
        upstream.close()
