#!/usr/bin/env python3
"""Starts a DHT of real BitTorrent clients on loopback and says what a correct crawl of it finds.

    swarm.py [--seed N] [--sessions N] [--folder DIR] [--once]

When every torrent is announced, stored and known to be served, one line of JSON goes to stdout; the
swarm then runs until stdin closes (`--once`: it ends at once). Progress goes to stderr. Each run
draws its own part of 127/8, so runs do not meet.

The line: `truth` (the file with the truth), `bootstrap` (some nodes), `prefix` (the first three
bytes of all addresses; .200 to .254 are free for crawlers), `nodes`, `keys`, `exposed`.
The truth: one JSON object a line for each infohash as the DHT knows it, in the form of the truth
file of `swarm`: what its CSV row must hold, `exposed` (some node has it in its BEP 51 sample), and
the `peers` that announced it; the state `live` says that a fetch of our own over TCP worked, or, from
a client that takes uTP alone or forces encryption, through a libtorrent.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import krpc
import torrents as generator
import wire
from peers import Aria2, Libtorrent, Transmission, fetch_otherwise

# What is not shared out evenly over the libtorrent sessions: these clients alone serve these.
EXCLUSIVE = {
    "transmission": [
        "seeded 4",
        "seeded album 2",
        "magnet only 4",
        "metadata of 49152 bytes",
        "name emoji",
        "invalid utf-8 latin-1",
        "pad files",
    ],
    "aria2": [
        "seeded 5",
        "seeded album 3",
        "magnet only 5",
        "metadata of 65543 bytes",
        "name cjk",
        "private",
        "symlinks",
    ],
    "mse": ["magnet only 6", "seeded 3"],
    "mse-rc4": ["magnet only 1", "seeded 1"],
    "mse-plain": ["magnet only 2", "seeded 2"],
    "utp": ["magnet only 7", "seeded album 1"],
    "utp-mse": ["magnet only 3", "seeded album 0"],
}
PHANTOMS = 3  # infohashes announced for a port on which nobody listens
STORED_ON = 8  # BEP 5: an announce goes to the 8 closest nodes
DEADLINE = 120.0  # seconds for each phase


def say(text):
    print(f"# {text}", file=sys.stderr, flush=True)


def wait_until(what, condition):
    """Polls until `condition()` is true; what never comes true is an error, not a hang."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {DEADLINE:.0f} s still not: {what}")
        time.sleep(0.1)


class Swarm:
    """All clients, and who serves what."""

    def __init__(self, seed, folder):
        self.rng = random.Random()
        self.folder = Path(folder)
        self.prefix = f"127.{self.rng.randrange(64, 250)}.{self.rng.randrange(1, 250)}"
        self.torrents = generator.generate(seed)
        self.phantoms = [
            hashlib.sha1(b"phantom %d %d" % (seed, n)).hexdigest() for n in range(PHANTOMS)
        ]
        self.nodes, self.children, self.served = [], [], []  # served: (client, torrent, key)

    def address(self, host):
        return f"{self.prefix}.{host}"

    # --- starting ---

    def start(self, sessions):
        say(f"{len(self.torrents)} torrents, {sessions} libtorrent sessions on {self.prefix}.0/24")
        home = lambda name: self.folder / name
        self.ordinary = [
            Libtorrent(self.address(10 + n), home(f"session{n}")) for n in range(sessions)
        ]
        special = {
            name: Libtorrent(self.address(host), home(name), name)
            for name, host in (
                ("mse", 100),
                ("utp", 101),
                ("mse-rc4", 102),
                ("mse-plain", 103),
                ("utp-mse", 104),
            )
        }
        # These share the address of the client for which they announce.
        self.heralds = {
            name: Libtorrent(self.address(host), home(f"herald{host}"))
            for name, host in (("transmission", 110), ("aria2", 111), ("phantom", 112))
        }
        self.nodes = [*self.ordinary, *special.values(), *self.heralds.values()]

        metainfo = {torrent.label: self.write_metainfo(torrent) for torrent in self.torrents}
        exclusive = {label: name for name, labels in EXCLUSIVE.items() for label in labels}
        theirs = lambda name: [
            (t, metainfo[t.label]) for t in self.torrents if exclusive.get(t.label) == name
        ]
        transmission = Transmission(self.address(110), home("transmission"))
        self.children.append(transmission)
        aria2 = Aria2(self.address(111), home("aria2"), theirs("aria2"))
        self.children.append(aria2)

        wait_until(
            "all clients are up", lambda: all(c.is_up() for c in [*self.nodes, *self.children])
        )
        known = [node.node() for node in self.nodes]
        for node in self.nodes:
            node.know(known)
        wait_until("the DHT has formed", self.has_formed)

        for torrent, file in theirs("transmission"):
            transmission.add(torrent, file)
        wait_until("transmission serves its torrents", transmission.is_serving)
        for client in (transmission, aria2):
            for torrent, _ in theirs(client.client):
                self.serve(client, torrent)
        for name, session in special.items():
            for torrent, file in theirs(name):
                session.add(torrent, file)
                self.serve(session, torrent)
        shared = [t for t in self.torrents if t.label not in exclusive]
        for number, torrent in enumerate(shared):
            # Every third torrent has two servers.
            for turn in range(2 if number % 3 == 0 else 1):
                session = self.ordinary[(number + turn * 7) % sessions]
                session.add(torrent, metainfo[torrent.label])
                self.serve(session, torrent)

    def write_metainfo(self, torrent):
        file = self.folder / "torrents" / f"{torrent.keys()[0]}.torrent"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(torrent.metainfo())
        return file

    def serve(self, client, torrent):
        # transmission and aria2 know no v2: they go by the SHA-1 alone.
        keys = torrent.keys() if client.client == "libtorrent" else torrent.keys()[:1]
        self.served += [(client, torrent, key) for key in keys]

    def has_formed(self):
        """Whether every node answers, and knows others near itself."""
        asker = krpc.Asker(self.address(2))
        try:
            self.ids = {}
            for node in self.nodes:
                reply = asker.ask(node.node(), "find_node", target=os.urandom(20)) or {}
                if len(reply.get(b"nodes", b"")) < 26 * min(STORED_ON, len(self.nodes) - 1):
                    return False
                self.ids[node.node()] = reply[b"id"]
            return True
        finally:
            asker.close()

    # --- announcing ---

    def announce(self):
        for node in self.nodes:
            node.announce_all()
        for child in self.children:
            keys = [key for client, _, key in self.served if client is child]
            self.heralds[child.client].announce_for(keys, child.peer()[1])
        self.heralds["phantom"].announce_for(self.phantoms, 1)

    def await_announced(self):
        """Until the nodes give out every peer of every infohash. Asked from several addresses in
        turn, and only for what is missing, so that no node takes us for a flood."""
        missing = {(key, client.peer()) for client, _, key in self.served}
        missing |= {(key, (self.address(112), 1)) for key in self.phantoms}
        askers = [krpc.Asker(self.address(3 + n)) for n in range(6)]
        started = announced = time.monotonic()
        self.announce()
        turn = 0
        while missing:
            time.sleep(1)
            if time.monotonic() - started > DEADLINE:
                raise TimeoutError(f"never announced: {sorted(missing)}")
            if time.monotonic() - announced > 20:
                self.announce()
                announced = time.monotonic()
            for key in sorted({key for key, _ in missing}):
                turn += 1
                missing -= {
                    (key, peer) for peer in self.lookup(askers[turn % len(askers)], key, missing)
                }
        for asker in askers:
            asker.close()

    def lookup(self, asker, key, missing):
        """Peers of `key` from the nodes closest to it, as many as it takes to find all missing."""
        wanted = {peer for other, peer in missing if other == key}
        target, found = bytes.fromhex(key), set()
        distance = lambda node: bytes(a ^ b for a, b in zip(self.ids[node], target))
        for node in sorted(self.ids, key=distance)[:STORED_ON]:
            found |= krpc.peers_of(asker.ask(node, "get_peers", info_hash=target, tries=1))
            if found >= wanted:
                break
        return found

    # --- the truth ---

    def check_served(self):
        """Fetches everything from everybody: {(key, peer): None or why not}. Each fetch
        has its own source: transmission hangs up on a second handshake from an address."""

        def attempt(number, served):
            client, torrent, key = served
            try:
                source = self.address(120 + number % 80)
                if client.transport == "tcp":
                    info = wire.fetch(client.peer(), key, source)
                else:
                    info = fetch_otherwise(client.peer(), key, source, client.transport)
            except wire.Unserved as reason:
                return str(reason)
            return None if info == torrent.info else "other bytes than were added"

        with ThreadPoolExecutor(16) as pool:
            reasons = pool.map(attempt, range(len(self.served)), self.served)
        return {(key, client.peer()): why for (client, _, key), why in zip(self.served, reasons)}

    def sample(self):
        """The infohashes that any node exposes. A node is asked once: libtorrent fixes what it
        hands out for six hours, whoever asks."""
        asker, exposed = krpc.Asker(self.address(9)), set()
        for node in self.nodes:
            exposed |= krpc.samples_of(
                asker.ask(node.node(), "sample_infohashes", target=os.urandom(20))
            )
        asker.close()
        return exposed

    def truth(self):
        with ThreadPoolExecutor(1) as pool:
            checked = pool.submit(self.check_served)
            self.await_announced()
            say("every torrent is announced and stored")
            reasons = checked.result()
        exposed = self.sample()
        rows = {key: self.row(key, exposed) for _, _, key in self.served}
        rows.update((key, self.row(key, exposed)) for key in self.phantoms)
        for client, torrent, key in self.served:
            why = reasons[key, client.peer()]
            state = "live" if why is None else "does not serve"
            self.add_peer(rows[key], client.peer(), state, client.client, client.transport)
            rows[key].update(
                {
                    "label": torrent.label,
                    "name": torrent.name,
                    "file_count": torrent.file_count,
                    "total_bytes": torrent.total_bytes,
                    "piece_length": torrent.piece_length,
                    "version": torrent.version,
                    "private": torrent.private,
                    "metadata_bytes": len(torrent.info),
                    "sha256": hashlib.sha256(torrent.info).hexdigest(),
                }
            )
            if why:
                say(f"{client.client} does not serve {torrent.label!r}: {why}")
        for key in self.phantoms:
            self.add_peer(rows[key], (self.address(112), 1), "refuses", "none", "none")
        return list(rows.values())

    def row(self, key, exposed):
        """What is known of an infohash without its metadata."""
        return {
            "infohash": key,
            "label": "phantom",
            "name": "",
            "file_count": 0,
            "total_bytes": 0,
            "piece_length": 0,
            "exposed": key in exposed,
            "peers": [],
        }

    def add_peer(self, row, peer, state, client, transport):
        row["peers"].append(
            {"addr": "%s:%d" % peer, "state": state, "client": client, "transport": transport}
        )

    def stop(self):
        for child in self.children:
            child.stop()
        for node in self.nodes:
            node.session.pause()


def main():
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--sessions", type=int, default=20)
    options.add_argument("--folder", help="where the temporary folder goes")
    options.add_argument("--once", action="store_true", help="end as soon as the swarm is ready")
    options = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that `finally` runs
    folder = Path(tempfile.mkdtemp(prefix="estudely-clients-", dir=options.folder))
    swarm, started = Swarm(options.seed, folder), time.monotonic()
    try:
        swarm.start(options.sessions)
        rows = swarm.truth()
        file = folder / "truth.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        served = sum(any(peer["state"] == "live" for peer in row["peers"]) for row in rows)
        exposed = sum(row["exposed"] for row in rows)
        say(
            f"ready after {time.monotonic() - started:.0f} s: {len(rows)} infohashes, "
            f"{exposed} exposed, {served} served"
        )
        bootstrap = [":".join(map(str, node.node())) for node in swarm.ordinary[:3]]
        ready = {
            "truth": str(file),
            "bootstrap": bootstrap,
            "prefix": swarm.prefix,
            "nodes": len(swarm.nodes),
            "keys": len(rows),
            "exposed": exposed,
        }
        print(json.dumps(ready), flush=True)
        if not options.once:
            sys.stdin.buffer.read()
    finally:
        swarm.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
