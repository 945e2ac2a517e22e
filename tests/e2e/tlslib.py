"""TLS for the played ends of Starlink: an authority, identities, and sockets that two threads may use at once.

Certificates are made by the openssl command; connections are Python's ssl. docs/components/identity.md.
"""

import atexit
import base64
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path

KEY_MARK = bytes.fromhex("06032b6570032100")  # id-Ed25519 and the head of its 32 bytes
CHUNK = 65536


def openssl(*words, data=None):
    done = subprocess.run(["openssl", *map(str, words)], input=data, capture_output=True)
    assert done.returncode == 0, f"openssl {words}: {done.stderr.decode()}"
    return done.stdout


def der(pem):
    """The first block of a PEM text."""
    lines = pem.decode().split("-----")[2].split()
    return base64.b64decode("".join(lines))


def key_id(pem):
    """The id of the key in a request or certificate."""
    data = der(pem)
    at = data.index(KEY_MARK) + len(KEY_MARK)
    digest = hashlib.sha256(data[at : at + 32]).digest()
    return base64.b32encode(digest[:16]).decode().lower().rstrip("=")


def folder(prefix):
    path = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


class Identity:
    """A key, and the certificate that was issued for it."""

    def __init__(self):
        self.folder = folder("astra-id-")
        self.key, self.cert, self.trust = (self.folder / name for name in ("key.pem", "cert.pem", "ca.pem"))
        self.request = openssl("req", "-new", "-newkey", "ed25519", "-nodes", "-keyout", self.key, "-subj", "/CN=x")
        self.id = key_id(self.request)

    def take(self, message):
        """What CERTIFICATE brought."""
        self.cert.write_bytes(message.certificate)
        self.trust.write_bytes(message.trust)

    def client(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.trust)
        context.load_cert_chain(self.cert, self.key)
        return context


def stranger():
    """A client that shows no certificate and trusts anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Authority:
    """A CA with a server's certificate and a join token."""

    _shared = None

    @classmethod
    def shared(cls):
        """That of all played servers of this process: of one platform."""
        cls._shared = cls._shared or cls()
        return cls._shared

    def __init__(self, key=None, cert=None):
        """Of its own, or of a real server: (path of the key, PEM of the certificate)."""
        self.folder = folder("astra-ca-")
        self.key, self.cert = key or self.folder / "ca.key", self.folder / "ca.pem"
        if cert is not None:
            self.cert.write_bytes(cert)
            return
        openssl(
            "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", self.key, "-out", self.cert, "-days", 2, "-subj",
            "/CN=Astra CA of the tests", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
        self.secret = os.urandom(32).hex()
        self.pin = hashlib.sha256(der(self.cert.read_bytes())).hexdigest()
        self.token_file = self.folder / "join.token"
        self.token_file.write_text(f"{self.secret}-{self.pin}\n")
        self.server = Identity()
        self.server.cert.write_bytes(self.issue(self.server.request, "server", "-") + self.cert.read_bytes())

    def issue(self, request, role, cluster, id_=None, use=None, days=1):
        """The certificate of that name for the key of the request."""
        use = use or ("serverAuth" if role == "server" else "clientAuth")
        extensions = self.folder / f"{threading.get_ident()}.ext"
        extensions.write_text(
            f"subjectAltName=URI:astra://{cluster}/{role}/{id_ or key_id(request)},IP:127.0.0.1\n"
            f"extendedKeyUsage={use}\nbasicConstraints=critical,CA:FALSE\n"
        )
        return openssl(
            "x509", "-req", "-CA", self.cert, "-CAkey", self.key, "-days", days, "-extfile", extensions,
            "-set_serial", int.from_bytes(os.urandom(8), "big"), data=request,
        )  # fmt: skip

    def context(self):
        """Of a server that asks for a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.server.cert, self.server.key)
        context.load_verify_locations(self.cert)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.num_tickets = 0
        return context


class Socket:
    """A TLS connection over a socket; one thread may read while others write (ssl.SSLSocket allows no such thing)."""

    def __init__(self, sock, context, server_side=False, timeout_s=10):
        self.sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server_side)
        self._lock = threading.Lock()
        self.sock.settimeout(timeout_s)
        self._shake()
        self.sock.settimeout(None)

    def _shake(self):
        while True:
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.sock.sendall(self._out.read())
                data = self.sock.recv(CHUNK)
                if not data:
                    raise ConnectionResetError("closed within the handshake") from None
                self._in.write(data)
            finally:
                if self._out.pending:
                    self.sock.sendall(self._out.read())

    @property
    def peer_cert(self):
        return self._tls.getpeercert(binary_form=True)

    def _decrypted(self, n):
        """Bytes, b"" at the end, or None: more is needed."""
        with self._lock:
            try:
                return self._tls.read(n)
            except ssl.SSLWantReadError:
                return None
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise ConnectionResetError(str(error)) from None

    def recv(self, n):
        while (data := self._decrypted(n)) is None:
            raw = self.sock.recv(CHUNK)
            if not raw:
                return b""
            with self._lock:
                self._in.write(raw)
        return data

    def sendall(self, data):
        with self._lock:
            try:
                self._tls.write(data)
            except ssl.SSLError as error:
                raise ConnectionResetError(str(error)) from None
            self.sock.sendall(self._out.read())

    def shutdown(self, how):
        self.sock.shutdown(how)

    def close(self):
        self.sock.close()


def dial(address, context):
    host, _, port = address.rpartition(":")
    sock = socket.create_connection((host, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return Socket(sock, context)
    except BaseException:
        sock.close()
        raise
