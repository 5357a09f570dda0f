"""ssl, of the standard library: handshakes in memory whose callbacks stop."""

import datetime
import ssl
import tempfile
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hosts import pause

NAME = "ssl, standard library"
DISTRIBUTION = "cryptography"  # which makes its certificates
VERSION = ssl.OPENSSL_VERSION.split()[1]
DAY = datetime.timedelta(days=1)


@cache
def _certificate():
    """The path of a key with its certificate, which is for `localhost`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - DAY, now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = Path(tempfile.mkdtemp()) / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def _connected(stop=lambda *_: None, trusted=True):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(_certificate())
    server.sni_callback = stop
    client = ssl.create_default_context()
    if trusted:
        client.load_verify_locations(_certificate())
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(down, up, server_hostname="localhost"),
        server.wrap_bio(up, down, server_side=True),
    )
    waiting = list(sides)
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return sides


def small():
    client, server = _connected()
    client.write(b"hello")
    return [server.read(), client.version()]


def heavy():
    received = []
    for _ in range(20):
        client, server = _connected()
        for size in (1, 1000, 16384):
            client.write(b"x" * size)
            received.append(len(server.read(size)))
    return received


def callback(number):
    names = []
    client, server = _connected(lambda _, name, __: pause() or names.append(name))
    client.write(b"from %d" % number)
    return [names, server.read()]


def exception():
    _connected(trusted=False)
