"""The real clients, each on its own loopback address and a port of the system's choice."""

import base64
import ctypes
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import libtorrent as lt

from wire import Unserved

PR_SET_PDEATHSIG = 1


def free_port(address):
    """A TCP port free on `address`; nobody else uses the addresses of a swarm."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def start(command, log):
    """A child process that the kernel ends with us, even if we are killed."""
    libc = ctypes.CDLL(None)
    end_with_parent = lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with open(log, "wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=end_with_parent,
        )


def stop(child):
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Libtorrent:
    """A session with DHT; `transport` is how it can be reached: tcp, utp, or mse (encryption
    forced), of which it selects what it likes best, mse-rc4 or mse-plain one way alone; utp-mse is
    uTP with encryption forced."""

    client = "libtorrent"

    def __init__(self, address, folder, transport="tcp"):
        self.address, self.folder, self.transport = address, Path(folder), transport
        is_forced = "mse" in transport
        policy = lt.enc_policy.forced if is_forced else lt.enc_policy.enabled
        levels = {"mse-rc4": lt.enc_level.rc4, "mse-plain": lt.enc_level.plaintext}
        self.session = lt.session(
            {
                "listen_interfaces": f"{address}:0",
                "outgoing_interfaces": address,
                "alert_mask": 0,
                # Nothing leaves loopback.
                "dht_bootstrap_nodes": "",
                "enable_dht": True,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "enable_ip_notifier": False,
                # One /8 is the whole world here.
                "dht_restrict_routing_ips": False,
                "dht_restrict_search_ips": False,
                "dht_prefer_verified_node_ids": False,
                "dht_enforce_node_id": False,
                "dht_ignore_dark_internet": False,
                "allow_multiple_connections_per_ip": True,
                # All torrents are announced within seconds; what one address may ask
                # (dht_block_ratelimit, dht_block_timeout) stays as it is in the wild.
                "dht_upload_rate_limit": 200_000,
                "dht_announce_interval": 60,
                "listen_queue_size": 200,
                "aio_threads": 1,
                "hashing_threads": 1,
                "in_enc_policy": int(policy),
                "allowed_enc_level": int(levels.get(transport, lt.enc_level.both)),
                "out_enc_policy": int(lt.enc_policy.enabled),
                "enable_incoming_tcp": not transport.startswith("utp"),
            }
        )
        self.handles = []

    def node(self):
        """Its UDP endpoint."""
        return (self.address, self.session.listen_port())

    peer = node

    def is_up(self):
        return self.session.listen_port() != 0 and self.session.is_dht_running()

    def know(self, nodes):
        """Makes the session ask these nodes for their place in its routing table."""
        for node in nodes:
            if node != self.node():
                self.session.add_dht_node(node)

    def add(self, torrent, metainfo):
        """Serves a torrent: seeding if it has a payload, else with its metadata only."""
        place = self.folder / metainfo.stem
        write_payload(torrent, place)
        parameters = lt.load_torrent_file(str(metainfo))
        parameters.save_path = str(place)
        parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        if torrent.payload:
            parameters.flags |= lt.torrent_flags.seed_mode
        self.handles.append(self.session.add_torrent(parameters))

    def announce_all(self):
        for handle in self.handles:
            handle.force_dht_announce()

    def announce_for(self, keys, port):
        """Announces on behalf of another client on this very address."""
        for key in keys:
            self.session.dht_announce(lt.sha1_hash(bytes.fromhex(key)), port, 0)


def fetch_otherwise(peer, key, source, transport, timeout=30.0):
    """The info dictionary behind `key` as `peer` serves it to a libtorrent that speaks uTP alone
    or TCP alone, and encrypts or not, as `transport` says."""
    is_forced, is_utp = "mse" in transport, transport.startswith("utp")
    session = lt.session(
        {
            "listen_interfaces": f"{source}:0",
            "outgoing_interfaces": source,
            "alert_mask": 0,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_outgoing_utp": is_utp,
            "enable_outgoing_tcp": not is_utp,
            "out_enc_policy": int(lt.enc_policy.forced if is_forced else lt.enc_policy.disabled),
        }
    )
    parameters = lt.parse_magnet_uri(f"magnet:?xt=urn:btih:{key}")
    parameters.save_path = "/nonexistent"
    parameters.flags |= lt.torrent_flags.upload_mode
    handle = session.add_torrent(parameters)
    handle.connect_peer(peer)
    deadline = time.monotonic() + timeout
    while not handle.status().has_metadata:
        if time.monotonic() > deadline:
            raise Unserved(f"no metadata over {transport} in time")
        time.sleep(0.05)
    return handle.torrent_file().info_section()


def write_payload(torrent, place):
    for path, content in torrent.payload:
        file = place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


class Transmission:
    """transmission-daemon. Its DHT refuses 127/8, so it is off: a libtorrent session on the same
    address announces for it."""

    client, transport = "transmission", "tcp"

    def __init__(self, address, folder):
        self.folder, self.session_id = Path(folder), ""
        port, rpc_port = free_port(address), free_port(address)
        self.address = (address, port)
        self.rpc = f"http://{address}:{rpc_port}/transmission/rpc"
        settings = {
            "bind-address-ipv4": address,
            "peer-port": port,
            "peer-port-random-on-start": False,
            "dht-enabled": False,
            "lpd-enabled": False,
            "pex-enabled": False,
            "utp-enabled": True,
            "port-forwarding-enabled": False,
            "encryption": 1,
            "download-dir": str(self.folder / "data"),
            "rpc-bind-address": address,
            "rpc-port": rpc_port,
            "rpc-whitelist-enabled": False,
            "rpc-host-whitelist-enabled": False,
            "rpc-authentication-required": False,
            "start-added-torrents": True,
            "download-queue-enabled": False,
            "seed-queue-enabled": False,
            "incomplete-dir-enabled": False,
            "blocklist-enabled": False,
        }
        self.folder.mkdir(parents=True)
        (self.folder / "settings.json").write_text(json.dumps(settings))
        command = ["transmission-daemon", "--foreground", "--config-dir", str(self.folder)]
        self.child = start(command, self.folder / "log")

    def peer(self):
        return self.address

    def is_up(self):
        try:
            self.call("session-get")
        except OSError:
            return False
        return True

    def add(self, torrent, metainfo):
        write_payload(torrent, self.folder / "data")
        encoded = base64.b64encode(metainfo.read_bytes()).decode()
        answer = self.call("torrent-add", metainfo=encoded)
        if answer["result"] != "success":
            raise RuntimeError(f"transmission refuses {torrent.label!r}: {answer['result']}")

    def is_serving(self):
        """Whether it has looked at all payloads: until then it hangs up on who asks for them."""
        torrents = self.call("torrent-get", fields=["status"])["arguments"]["torrents"]
        return all(torrent["status"] in (4, 6) for torrent in torrents)

    def call(self, method, **arguments):
        """One JSON-RPC call; the first is answered 409 with the session id to repeat it with."""
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        for _ in range(2):
            request = urllib.request.Request(
                self.rpc, body, {"X-Transmission-Session-Id": self.session_id}
            )
            try:
                with urllib.request.urlopen(request, timeout=10) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                self.session_id = error.headers["X-Transmission-Session-Id"]
        raise OSError("transmission gives no session")

    def stop(self):
        stop(self.child)


class Aria2:
    """aria2c with all its torrents from the start; another session announces for it."""

    client, transport = "aria2", "tcp"

    def __init__(self, address, folder, torrents):
        folder = Path(folder)
        self.address = (address, free_port(address))
        (folder / "data").mkdir(parents=True)
        for torrent, _ in torrents:
            write_payload(torrent, folder / "data")
        options = {
            "interface": address,
            "listen-port": self.address[1],
            "dir": folder / "data",
            "enable-dht": "false",
            "enable-dht6": "false",
            "bt-enable-lpd": "false",
            "enable-peer-exchange": "false",
            "disable-ipv6": "true",
            "seed-ratio": "0.0",
            "check-integrity": "true",
            "allow-overwrite": "true",
            "file-allocation": "none",
            "max-concurrent-downloads": "100",
            "bt-max-open-files": "10",
            "console-log-level": "warn",
            "stop-with-process": str(os.getpid()),
            "no-conf": "true",
        }
        command = ["aria2c", *(f"--{name}={value}" for name, value in options.items()), "-Z"]
        command += [str(metainfo) for _, metainfo in torrents]
        self.child = start(command, folder / "log")

    def peer(self):
        return self.address

    def is_up(self):
        try:
            socket.create_connection(self.address, 1).close()
        except OSError:
            return False
        return True

    def stop(self):
        stop(self.child)
