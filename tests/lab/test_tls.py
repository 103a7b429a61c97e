"""The table of sslmodes in docs/consumers.md, tested with the real libpq.

The server's certificate names the database's endpoint, as on RDS. The client connects to the
consumer's endpoint.
"""

import datetime as dt
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.template.pages import read, sections, tables

pytestmark = pytest.mark.lab

DATABASE = "orders.abc123.eu-west-1.rds.amazonaws.com"
CONSUMER_ENDPOINT = "vpce-0abc-0def.vpce-svc-0abc.eu-west-1.vpce.amazonaws.com"
HOST = "127.0.0.1"
DEADLINE = 60.0

# PostgreSQL documentation, Frontend/Backend Protocol, Message Formats.
SSL_REQUEST = 80877103
WELCOME = b"R" + struct.pack("!ii", 8, 0) + b"Z" + struct.pack("!i", 5) + b"I"
_REASON = b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry, no encryption\0\0"
REFUSAL = b"E" + struct.pack("!i", 4 + len(_REASON)) + _REASON


class Certificates:
    """A root certificate and a server's certificate, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate_file = folder / "server.pem"
        self.key_file = folder / "server.key"
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _certificate("RDS CA", root_key.public_key(), "RDS CA", root_key, is_root=True)
        server = _certificate(DATABASE, key.public_key(), "RDS CA", root_key, is_root=False)
        (folder / "root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
        self.certificate_file.write_bytes(server.public_bytes(serialization.Encoding.PEM))
        self.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.key_file.chmod(0o600)


def _certificate(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_root: bool,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name.replace(" ", "-"))]), False)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


class Greeter(socketserver.BaseRequestHandler):
    """Serves one client until it could send queries."""

    def handle(self) -> None:
        self.request.settimeout(DEADLINE)
        if _request(self.request) != SSL_REQUEST:
            self.request.sendall(REFUSAL)
            return
        self.request.sendall(b"S")
        assert isinstance(self.server, Database)
        try:
            with self.server.context.wrap_socket(self.request, server_side=True) as encrypted:
                if _request(encrypted) is not None:
                    encrypted.sendall(WELCOME)
                    encrypted.recv(1)  # wait until the client disconnects
        except (ssl.SSLError, ConnectionError):
            return  # the client rejected the certificate


class Database(socketserver.ThreadingTCPServer):
    """The connection set-up of PostgreSQL with TLS only, like rds.force_ssl.

    The lab's PostgreSQL has no TLS.
    """

    daemon_threads = True

    def __init__(self, certificates: Certificates) -> None:
        super().__init__((HOST, 0), Greeter)
        self.certificates = certificates
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificates.certificate_file, certificates.key_file)

    def accepts(self, sslmode: str, host: str, root: Path | None) -> bool:
        """Return whether a client with libpq connects; it must then use TLS."""
        try:
            connection = psycopg.connect(
                host=host,
                hostaddr=HOST,
                port=self.server_address[1],
                user="dbt",
                sslmode=sslmode,
                sslrootcert=str(root or "/nowhere"),
                gssencmode="disable",
                connect_timeout=int(DEADLINE),
            )
        except psycopg.OperationalError:
            return False
        assert connection.pgconn.ssl_in_use
        connection.close()
        return True


def _request(client: socket.socket) -> int | None:
    """Return the code of a request without a type byte; None after the end of the connection."""
    head = client.recv(8)
    if len(head) < 8:
        return None
    length, code = struct.unpack("!ii", head)
    if length > 8:
        client.recv(length - 8)
    return int(code)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with Database(Certificates(tmp_path_factory.mktemp("certificates"))) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.mark.parametrize(
    ("sslmode", "host", "root", "accepted"),
    [
        # dbt uses libpq's default: TLS if the server requires it.
        ("prefer", CONSUMER_ENDPOINT, None, True),
        ("allow", CONSUMER_ENDPOINT, None, True),
        ("require", CONSUMER_ENDPOINT, None, True),
        ("disable", CONSUMER_ENDPOINT, None, False),
        # With a root certificate a client verifies the issuer, even with `require`.
        ("verify-ca", CONSUMER_ENDPOINT, "root.pem", True),
        ("verify-ca", CONSUMER_ENDPOINT, "server.pem", False),
        ("require", CONSUMER_ENDPOINT, "server.pem", False),
        # The certificate has the database's name, not the consumer's.
        ("verify-full", CONSUMER_ENDPOINT, "root.pem", False),
        ("verify-full", DATABASE, "root.pem", True),
    ],
)
def test_a_mode_connects_or_not(
    database: Database, sslmode: str, host: str, root: str | None, accepted: bool
) -> None:
    root_file = database.certificates.folder / root if root else None
    assert database.accepts(sslmode, host, root_file) == accepted


def test_the_page_lists_exactly_these_modes() -> None:
    (table,) = tables(sections(read("docs/consumers.md"), 2)["TLS"])
    assert [row[0] for row in table] == [
        "`disable`",
        "`allow`, `prefer`",
        "`require`",
        "`verify-ca`",
        "`verify-full`",
    ]
