"""A reference metadata fetch (BEP 3, 9, 10) over plain TCP: it says which peer serves which torrent
before the crawler is asked, and shares no code with it."""

import hashlib
import os
import socket
import struct
import time

from bencode import decode, encode

BLOCK = 16 * 1024
OUR_METADATA_ID = 3


class Unserved(Exception):
    """The peer does not give this metadata over plain TCP."""


def fetch(peer, key, source, timeout=30.0):
    """The info dictionary behind `key` (hexadecimal) as `peer` (ip, port) serves it, verified."""
    deadline = time.monotonic() + timeout
    try:
        with socket.create_connection(peer, timeout, (source, 0)) as stream:
            return Exchange(stream, bytes.fromhex(key), deadline).run()
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise Unserved(f"{type(error).__name__}: {error}") from error


class Exchange:
    """One connection, from handshake to verified metadata."""

    def __init__(self, stream, key, deadline):
        self.stream, self.key, self.deadline = stream, key, deadline

    def run(self):
        reserved = bytes(5) + b"\x10\x00\x00"
        hello = b"\x13BitTorrent protocol" + reserved + self.key
        self.stream.sendall(hello + b"-PY0001-" + os.urandom(6).hex().encode())
        theirs = self.read(68)
        if not theirs.startswith(hello[:20]) or not theirs[25] & 0x10:
            raise Unserved("not a BitTorrent peer with the extension protocol")
        # Only now: aria2 hangs up when this comes in the same segment as the handshake.
        self.send(0, encode({"m": {"ut_metadata": OUR_METADATA_ID}}))
        their_id, size = self.offer()
        count = -(-size // BLOCK)
        for piece in range(count):
            self.send(their_id, encode({"msg_type": 0, "piece": piece}))
        info = self.collect(count, size)
        if self.key not in (hashlib.sha1(info).digest(), hashlib.sha256(info).digest()[:20]):
            raise Unserved("metadata of another torrent")
        return info

    def offer(self):
        """Their id for ut_metadata, and the size they promise."""
        while True:
            extended, payload = self.message()
            if extended == 0:
                handshake, _ = decode(payload)
                their_id = handshake.get(b"m", {}).get(b"ut_metadata", 0)
                size = handshake.get(b"metadata_size", 0)
                if not their_id or not size:
                    raise Unserved("offers no metadata")
                return their_id, size

    def collect(self, count, size):
        """All pieces, in order."""
        pieces = {}
        while len(pieces) < count:
            extended, payload = self.message()
            if extended != OUR_METADATA_ID:
                continue
            header, end = decode(payload)
            if header[b"msg_type"] == 2:
                raise Unserved("rejected a piece")
            if header[b"msg_type"] == 1:
                pieces[header[b"piece"]] = payload[end:]
        info = b"".join(pieces[piece] for piece in range(count))
        if len(info) != size:
            raise Unserved("pieces of another size than promised")
        return info

    def message(self):
        """The next extended message: its id and payload."""
        while True:
            (length,) = struct.unpack(">I", self.read(4))
            body = self.read(length)
            if length >= 2 and body[0] == 20:
                return body[1], body[2:]

    def send(self, extended, payload):
        self.stream.sendall(struct.pack(">IBB", len(payload) + 2, 20, extended) + payload)

    def read(self, length):
        parts = bytearray()
        while len(parts) < length:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise Unserved("too slow")
            self.stream.settimeout(left)
            part = self.stream.recv(length - len(parts))
            if not part:
                raise Unserved("hung up")
            parts += part
        return bytes(parts)
