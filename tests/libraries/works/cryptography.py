"""cryptography: OpenSSL below Rust."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

DISTRIBUTION = "cryptography"


def small():
    digest = hashes.Hash(hashes.SHA256())
    digest.update(b"copool")
    return digest.finalize()


def heavy():
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    signature = private.sign(b"text", pss, hashes.SHA256())
    private.public_key().verify(signature, b"text", pss, hashes.SHA256())
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    again = serialization.load_pem_private_key(pem, b"word")
    one, two = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "c")]))
        .sign(private, hashes.SHA256())
    )
    return [
        again.private_numbers() == private.private_numbers(),
        one.exchange(ec.ECDH(), two.public_key())
        == two.exchange(ec.ECDH(), one.public_key()),
        Scrypt(salt=b"salt", length=32, n=2**14, r=8, p=1).derive(b"word"),
        AESGCM(b"k" * 32).encrypt(b"n" * 12, b"text" * 9999, b"more")[-16:],
        Fernet(key := Fernet.generate_key()).decrypt(Fernet(key).encrypt(b"text")),
        request.is_signature_valid,
    ]


def exception():
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32).public_key()
    try:
        key.verify(b"s" * 64, b"text")
    except InvalidSignature:
        serialization.load_pem_private_key(b"no key", None)
