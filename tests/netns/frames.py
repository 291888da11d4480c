"""Frames as bytes, for packet sockets: what no ordinary socket would send."""

import socket
import struct


def mac_bytes(text):
    return bytes(int(part, 16) for part in text.split(":"))


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ethernet(to_mac, from_mac, ethertype, payload, tags=()):
    tag_bytes = b"".join(struct.pack("!HH", kind, vlan) for kind, vlan in tags)
    return mac_bytes(to_mac) + mac_bytes(from_mac) + tag_bytes + struct.pack("!H", ethertype) + payload


def ipv4(source, destination, payload, protocol=17, options=b"", fragment=0, identifier=7):
    header = struct.pack("!BBHHHBBH4s4s", 0x40 | (20 + len(options)) // 4, 0, 20 + len(options) + len(payload), identifier,
                         fragment, 64, protocol, 0, socket.inet_aton(source), socket.inet_aton(destination)) + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(source, destination, payload, following=17, hops=64):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), following, hops, socket.inet_pton(socket.AF_INET6, source),
                       socket.inet_pton(socket.AF_INET6, destination)) + payload


def udp(source, destination, sport, dport, payload):
    """With the checksum that IPv6 demands."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    length = 8 + len(payload)
    pseudo = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack("!II", length, 17)
    body = struct.pack("!HHHH", sport, dport, length, 0) + payload
    return body[:6] + struct.pack("!H", checksum(pseudo + body) or 0xffff) + body[8:]


def arp(operation, sender_mac, sender_ip, target_mac, target_ip):
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, mac_bytes(sender_mac), socket.inet_aton(sender_ip),
                       mac_bytes(target_mac), socket.inet_aton(target_ip))


def icmp(kind, code, body):
    data = struct.pack("!BBH", kind, code, 0) + body
    return data[:2] + struct.pack("!H", checksum(data)) + data[4:]


def icmpv6(source, destination, kind, code, body):
    data = struct.pack("!BBH", kind, code, 0) + body
    pseudo = (socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination) +
              struct.pack("!II", len(data), 58))
    return data[:2] + struct.pack("!H", checksum(pseudo + data)) + data[4:]


def tcp(source, destination, sport, dport, flags, sequence=1, acknowledged=0):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    header = struct.pack("!HHIIBBHHH", sport, dport, sequence, acknowledged, 5 << 4, flags, 65535, 0, 0)
    pseudo = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack("!II", len(header), 6)
    return header[:16] + struct.pack("!H", checksum(pseudo + header)) + header[18:]
