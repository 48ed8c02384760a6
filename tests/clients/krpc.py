"""Just enough KRPC (BEP 5, 51) to ask a node under our control one question at a time."""

import os
import socket
import time

from bencode import decode, encode


class Asker:
    """One UDP socket on its own address: libtorrent limits what one address may ask."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.node_id = os.urandom(20)

    def close(self):
        self.socket.close()

    def ask(self, node, method, timeout=1.0, tries=3, **arguments):
        """The reply's `r` dictionary, or None: no answer, or an error instead of one."""
        for _ in range(tries):
            transaction = os.urandom(4)
            # ro=1 (BEP 43): this socket answers nothing and belongs in no routing table.
            query = {
                "t": transaction,
                "y": "q",
                "q": method,
                "ro": 1,
                "a": {"id": self.node_id, **arguments},
            }
            self.socket.sendto(encode(query), node)
            reply = self.await_reply(node, transaction, timeout)
            if reply is not None:
                return reply.get(b"r")
        return None

    def await_reply(self, node, transaction, timeout):
        """The message that answers `transaction`, whatever else arrives before it."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                datagram, source = self.socket.recvfrom(4096)
            except TimeoutError:
                return None
            if source != node:
                continue
            try:
                message, _ = decode(datagram)
            except (ValueError, IndexError):
                continue
            if message.get(b"t") == transaction:
                return message
        return None


def peers_of(reply):
    """The (ip, port) pairs in a get_peers reply."""
    values = (reply or {}).get(b"values", [])
    return {(socket.inet_ntoa(v[:4]), int.from_bytes(v[4:6], "big")) for v in values if len(v) == 6}


def samples_of(reply):
    """The infohashes in a sample_infohashes reply, hexadecimal."""
    samples = (reply or {}).get(b"samples", b"")
    return {samples[at : at + 20].hex() for at in range(0, len(samples) - 19, 20)}
