"""One TCP connection and one SSLRequest to a server; no user, no password."""

import socket
import struct

from target_sync.core.road.facts import Reply, SeenTarget

#: Length and request code (PostgreSQL documentation, *Message Formats*, SSLRequest).
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class PostgresProbe:
    """Implements ``target_sync.core.road.ports.ProbePort``.

    Args:
        seconds: For the connection, and again for the reply.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds

    def ask(self, target: SeenTarget) -> Reply:
        """What a server answers when it is asked for TLS."""
        try:
            connection = socket.create_connection((target.id, target.port), self._seconds)
        except OSError:
            return Reply.NO_CONNECTION
        with connection:
            try:
                connection.sendall(_SSL_REQUEST)
                answer = connection.recv(1)
            except OSError:
                return Reply.OTHER
        return {b"S": Reply.TLS, b"N": Reply.PLAIN}.get(answer, Reply.OTHER)
