"""JSON lines over a socket: raylet to GCS over TCP, replica to raylet over a pair."""

import json


class Lines:
    """Cuts what is read from a blocking or ready socket into messages."""

    def __init__(self, sock):
        self.sock, self.rest = sock, b""

    def send(self, **message):
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def read(self):
        """Messages that one recv() brings; None at the end."""
        try:
            data = self.sock.recv(65536)
        except OSError:
            return None
        if not data:
            return None
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [json.loads(line) for line in lines]
