"""Sends an SSLRequest to a server, without a user or a password.

The module stands alone because the failover drill uses it too.
"""

import socket
import struct
from dataclasses import dataclass

from target_sync.status.facts import DescribedTarget, SslReply

#: Length and request code (PostgreSQL documentation, *Message Formats*, SSLRequest).
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@dataclass(frozen=True, slots=True)
class PostgresProbe:
    """Implements ``target_sync.status.ports.ProbePort``."""

    #: The time for the connection, and again for the reply.
    seconds: float = 2.0

    def ask(self, target: DescribedTarget) -> SslReply:
        """Return the server's reply to an SSLRequest."""
        try:
            connection = socket.create_connection((target.id, target.port), self.seconds)
        # A ValueError, if the target's ID can be no host name.
        except (OSError, ValueError):
            return SslReply.NO_CONNECTION
        with connection:
            try:
                connection.sendall(_SSL_REQUEST)
                reply = connection.recv(1)
            except OSError:
                return SslReply.OTHER
        return {b"S": SslReply.TLS, b"N": SslReply.PLAIN}.get(reply, SslReply.OTHER)
