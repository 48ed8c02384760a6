#!/usr/bin/env python3
"""libtorrent as a peer that takes uTP only, on loopback: serves one torrent until stdin closes.

    python3 utp.py PIECES

Says where on stdout, as one line of JSON: {"port": .., "hash": .., "bytes": ..}. The torrent has
so many pieces, each of which makes its info dictionary 20 bytes longer.
"""

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

import libtorrent as lt

from bencode import encode

PIECE = 16 * 1024


def info(pieces):
    """An info dictionary whose payload nobody has."""
    hashes = b"".join(hashlib.sha1(b"%d" % piece).digest() for piece in range(pieces))
    return encode({"length": pieces * PIECE, "name": "utp", "piece length": PIECE, "pieces": hashes})


def main():
    dictionary = info(int(sys.argv[1]))
    session = lt.session({
        "listen_interfaces": "127.0.0.1:0",
        "alert_mask": 0,
        "enable_incoming_tcp": False,
        "enable_outgoing_tcp": False,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
    })
    with tempfile.TemporaryDirectory() as folder:
        torrent = Path(folder) / "utp.torrent"
        torrent.write_bytes(b"d4:info" + dictionary + b"e")
        parameters = lt.add_torrent_params()
        parameters.ti = lt.torrent_info(str(torrent))
        parameters.save_path = folder
        # Nothing is checked and nothing is fetched: only the metadata is served.
        parameters.flags = lt.torrent_flags.seed_mode
        session.add_torrent(parameters)
        while session.listen_port() == 0:
            time.sleep(0.05)
        key = hashlib.sha1(dictionary).hexdigest()
        ready = {"port": session.listen_port(), "hash": key, "bytes": len(dictionary)}
        print(json.dumps(ready), flush=True)
        sys.stdin.read()


main()
