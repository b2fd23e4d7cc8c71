# SPDX-License-Identifier: Apache-2.0
"""A host of the scenarios: servers of its namespace, and what clients do there when they are told to.

Reads commands, one a line of JSON, and answers each with a line. Servers: TCP 80, 8080 and 34567 (says whom it
sees, then echoes), UDP 53, 7000 and 34567 (answers with whom it sees), FTP on 21 and 2121 (active, passive, EPRT, EPSV),
TFTP on 69; IPv4 and IPv6.
"""
import ftplib
import json
import re
import socket
import struct
import sys
import threading

FILE = b"what the file says\n" * 200
LIMIT = 5  # Seconds that a client waits for what comes at once.


def start(body, *args):
    threading.Thread(target=body, args=args, daemon=True).start()


def listen(port, body):
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    while True:
        connection, peer = server.accept()
        start(body, connection, peer)


def plain(address):
    return address.replace("::ffff:", "")


def serve_tcp(connection, peer):
    with connection:
        first = connection.recv(65536)
        text = f"{plain(peer[0])} {peer[1]} {plain(connection.getsockname()[0])}\n".encode()
        if first.startswith(b"GET "):
            head = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text)
            connection.sendall(head + text)
            return
        connection.sendall(text)
        while first:
            connection.sendall(first)
            first = connection.recv(65536)


def serve_udp(port):
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", port))
    while True:
        data, peer = server.recvfrom(65536)
        text = f"{plain(peer[0])} {peer[1]} {len(data)}".encode()
        server.sendto(text, peer)


def serve_tftp():
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", 69))
    while True:
        request, peer = server.recvfrom(2048)
        if request[:2] == b"\0\1":
            start(send_tftp, peer)


def send_tftp(peer):
    """From a port of its own, as TFTP has it."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as data:
        data.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        data.settimeout(LIMIT)
        try:
            for block in range(len(FILE) // 512 + 1):
                data.sendto(struct.pack(">HH", 3, block + 1) + FILE[block * 512:block * 512 + 512], peer)
                data.recvfrom(2048)
        except OSError:
            pass


class Ftp:
    """A control connection of the FTP server."""

    def __init__(self, connection, peer):
        self.connection, self.listener, self.to = connection, None, None
        self.host = plain(connection.getsockname()[0])
        with connection:
            self.say("220 ready")
            for line in connection.makefile("r", encoding="ascii"):
                self.obey(line.strip())

    def say(self, text):
        self.connection.sendall(text.encode() + b"\r\n")

    def open(self):
        if self.listener:
            connection, _ = self.listener.accept()
            self.listener.close()
            self.listener = None
            return connection
        family = socket.AF_INET6 if ":" in self.to[0] else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.settimeout(LIMIT)
        connection.connect(self.to)
        return connection

    def obey(self, line):
        command, _, rest = line.partition(" ")
        if command == "PORT":
            numbers = rest.split(",")
            self.to = (".".join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5]))
            self.say("200 ok")
        elif command == "EPRT":
            _, _, address, port, _ = rest.split(rest[0])
            self.to = (address, int(port))
            self.say("200 ok")
        elif command in ("PASV", "EPSV"):
            self.listener = socket.create_server((self.host, 0), family=socket.AF_INET6 if ":" in self.host else socket.AF_INET)
            self.listener.settimeout(LIMIT)
            port = self.listener.getsockname()[1]
            if command == "EPSV":
                self.say(f"229 Entering Extended Passive Mode (|||{port}|)")
            else:
                self.say(f"227 Entering Passive Mode ({self.host.replace('.', ',')},{port >> 8},{port & 255}).")
        elif command in ("RETR", "LIST", "NLST"):
            self.say("150 here it comes")
            try:
                with self.open() as data:
                    data.sendall(FILE)
                self.say("226 done")
            except OSError as error:
                self.say(f"425 {error}")
        elif command == "SIZE":
            self.say(f"213 {len(FILE)}")
        elif command == "QUIT":
            self.say("221 bye")
        elif command == "PWD":
            self.say('257 "/"')
        else:
            self.say("331 name" if command == "USER" else "200 ok")


def tcp(to, port, source=0, text="hello", limit=LIMIT):
    """Whom the server sees, and whether it echoes."""
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_STREAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.settimeout(limit)
        if source:
            client.bind(("", source))
        client.connect((to, port))
        client.sendall(text.encode())
        got = b""
        while len(got.partition(b"\n")[2]) < len(text):
            more = client.recv(65536)
            if not more:
                break
            got += more
        seen, _, echo = got.decode().partition("\n")
        host, seen_port, server = seen.split()
        return {"host": host, "port": int(seen_port), "server": server, "echo": echo, "local": client.getsockname()[1]}


held = []


def hold(to, port, limit=LIMIT, source=0):
    """A connection that stays open, for use() and crash()."""
    client = socket.create_connection((to, port), timeout=limit, source_address=("", source) if source else None)
    client.sendall(b"x")
    text = b""
    while not text.endswith(b"\nx"):
        text += client.recv(65536)
    held.append(client)
    return {"server": text.decode().split()[2], "size": len(held) - 1}


def use(which, text="more"):
    held[which].sendall(text.encode())
    return {"echo": held[which].recv(65536).decode()}


def crash(which):
    """Ends a connection by a reset."""
    held[which].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    held[which].close()
    return {}


def udp(to, port, source=0, size=8, limit=LIMIT):
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.settimeout(limit)
        if source:
            client.bind(("", source))
        client.connect((to, port))
        client.send(b"x" * size)
        host, seen_port, seen_size = client.recv(2048).decode().split()
        return {"host": host, "port": int(seen_port), "size": int(seen_size), "local": client.getsockname()[1]}


def ftp(to, mode="passive", port=21, limit=LIMIT, times=1):
    """A file by ftplib, whose client is as old as any; PORT and PASV in IPv4, EPRT and EPSV in IPv6 or if `mode` says so."""
    client = ftplib.FTP(timeout=limit)
    client.connect(to, port)
    if mode.startswith("e"):
        client.af = socket.AF_INET6
        client.trust_server_pasv_ipv4_address = True
        if mode == "eprt":
            client.makeport = lambda: make_eprt(client)
    client.login()
    client.set_pasv(mode in ("passive", "epsv"))
    client.trust_server_pasv_ipv4_address = True
    for _ in range(times):
        got = []
        client.retrbinary("RETR file", got.append)
        if b"".join(got) != FILE:
            raise OSError("not the file")
    client.quit()
    return {"size": len(FILE)}


def make_eprt(client):
    host = client.sock.getsockname()[0]
    listener = socket.create_server((host, 0), family=client.sock.family)
    listener.settimeout(client.timeout)
    client.sendcmd(f"EPRT |{2 if ':' in host else 1}|{host}|{listener.getsockname()[1]}|")
    return listener


def tftp(to, limit=LIMIT, source=0):
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(limit)
        if source:
            client.bind(("", source))
        client.sendto(b"\0\1file\0octet\0", (to, 69))
        got = b""
        while len(got) % 512 == 0:
            data, peer = client.recvfrom(2048)
            got += data[4:]
            client.sendto(b"\0\4" + data[2:4], peer)
        if got != FILE:
            raise OSError("not the file")
        return {"size": len(got)}


taps = []


def send(frames):
    """Frames as they are, by the host's device."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as device:
        device.bind(("eth0", 0))
        for frame in frames:
            device.send(bytes.fromhex(frame))
    return {}


def watch():
    """Keeps what arrives from now on."""
    for old in taps:
        old.close()
    taps.clear()
    device = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    device.bind(("eth0", 3))
    taps.append(device)
    return {}


def seen(pattern, limit=LIMIT, count=1):
    """Waits until `count` frames whose hex text matches have arrived since watch()."""
    device, found = taps[0], []
    device.settimeout(limit)
    try:
        while len(found) < count:
            frame, where = device.recvfrom(65536)
            if where[2] != socket.PACKET_OUTGOING and re.search(pattern, frame.hex()):
                found.append(frame.hex())
    except TimeoutError:
        pass
    return {"frames": found}


def main():
    for port in (80, 8080, 34567):
        start(listen, port, serve_tcp)
    for port in (53, 7000, 34567):
        start(serve_udp, port)
    for port in (21, 2121):
        start(listen, port, Ftp)
    start(serve_tftp)
    commands = {f.__name__: f for f in (tcp, hold, use, crash, udp, ftp, tftp, send, watch, seen)}
    print("{}", flush=True)
    for line in sys.stdin:
        name, options = json.loads(line)
        try:
            answer = commands[name](**options)
        except (OSError, ftplib.Error, EOFError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
