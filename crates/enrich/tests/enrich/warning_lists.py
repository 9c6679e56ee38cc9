"""Holds what our warning lists found against what pymispwarninglists finds, and prints what nothing explains.

On standard input: all lists as one JSON array, then a line for each value: subject, value, the places of the lists that we found.
What is explained is counted on standard error. Nothing is printed before the end, as nobody reads before.
"""

import collections
import ipaddress
import json
import re
import sys
from urllib.parse import urlsplit

from pymispwarninglists import WarningList

# Written down a second time, so that a mistake in ours is found.
ADDRESS = {"ip-src", "ip-dst", "ip-src|port", "ip-dst|port", "domain|ip"}
MAIL = {"email", "email-src", "email-dst", "email-reply-to", "target-email", "whois-registrant-email", "dns-soa-email", "eppn", "jabber-id"}
ATTRIBUTES = {
    "address": ADDRESS,
    "network": ADDRESS,
    "host": {"domain", "hostname", "domain|ip", "hostname|port"},
    "url": {"url", "uri", "link"},
    "md5": {"md5", "filename|md5", "malware-sample", "x509-fingerprint-md5"},
    "sha1": {"sha1", "filename|sha1", "x509-fingerprint-sha1"},
    "sha256": {"sha256", "filename|sha256", "x509-fingerprint-sha256"},
    "system": {"AS"},
    "mail": MAIL,
}


def address(text):
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def network(text):
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        return None
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    if mapped and found.prefixlen >= 96:
        return ipaddress.ip_network((mapped, found.prefixlen - 96))
    return found


def a_labels(text):
    try:
        return ".".join(label if label.isascii() else label.encode("idna").decode() for label in text.split("."))
    except UnicodeError:
        return text


def at_rest(entry, kind):
    """The entry as a value of an event is written."""
    entry = entry.strip()
    if kind == "cidr":
        return str(network(entry) or "")
    if kind == "string" and "://" in entry:
        parts = urlsplit(entry)
        return parts._replace(scheme=parts.scheme.lower(), netloc=a_labels(parts.netloc.lower()), path=parts.path or "/").geturl()
    if kind == "string" and "/" in entry:
        return str(network(entry) or entry)
    if address(entry):
        return str(address(entry))
    if kind == "string" and entry.upper().startswith("AS") and entry[2:].isdigit():
        return entry[2:]
    entry = entry.lower() if "@" in entry or kind == "substring" else a_labels(entry.lower())
    return entry if kind == "substring" else entry.rstrip(".")


class List:
    def __init__(self, document):
        self.document, self.kind = document, document["type"]
        self.attributes = set(document.get("matching_attributes") or ["ALL"])
        self.oracle = WarningList(document, slow_search=True)
        self.memory = {}
        self.asked = 0

    def is_about(self, subject):
        return "ALL" in self.attributes or bool(self.attributes & ATTRIBUTES[subject])

    def has(self, value):
        """What the authors say.

        They try all host names one by one: ten milliseconds a value for a long list. So they are asked of those that end in the same two
        labels, or are one label, and every hundredth time of all.
        """
        self.asked += 1
        if self.kind != "hostname" or len(self.document["list"]) < 1000 or self.asked % 100 == 0:
            return value in self.oracle
        labels = (urlsplit(value).hostname or value).split(".")
        buckets = self.once("buckets", self.buckets)
        return any(end in buckets and value in buckets[end] for end in (".".join(labels[-2:]), labels[-1]))

    def buckets(self):
        buckets = collections.defaultdict(list)
        for entry in self.document["list"]:
            buckets[".".join(entry.lstrip(".").split(".")[-2:])].append(entry)
        return {end: WarningList({**self.document, "list": entries}, slow_search=True) for end, entries in buckets.items()}

    def once(self, name, make):
        if name not in self.memory:
            self.memory[name] = make()
        return self.memory[name]

    def entries(self):
        entries = (at_rest(entry, self.kind) for entry in self.document["list"])
        return self.once("entries", lambda: sorted({entry for entry in entries if entry}))

    def resting(self):
        entries = self.entries()
        if self.kind == "substring":
            entries = sorted({*entries, *map(a_labels, entries)})
        return self.once("resting", lambda: WarningList({**self.document, "list": entries}, slow_search=True))

    def networks(self):
        def make():
            found = [ipaddress.ip_network(entry) for entry in self.entries()]
            versions = ([one for one in found if one.version == version] for version in (4, 6))
            return [one for version in versions for one in ipaddress.collapse_addresses(version)]

        return self.once("networks", make)

    def patterns(self):
        def make():
            marked = (re.fullmatch(r"(?s)([/#~!%])(.*)\1([a-zA-Z]*)", entry) for entry in self.document["list"])
            pairs = ((mark[2], mark[3]) if mark else (entry, "") for mark, entry in zip(marked, self.document["list"]))
            return [re.compile(pattern, re.I if "i" in flags else 0) for pattern, flags in pairs]

        return self.once("patterns", make)


# Why we may differ, and what is right then; None where it says nothing.


def regular_expressions(one, subject, value):
    if one.kind == "regex":
        text = value.lower() if subject == "mail" else value
        return any(pattern.search(text) for pattern in one.patterns())


def no_names_above_an_address(one, subject, value):
    host = urlsplit(value).hostname if subject == "url" else value
    if one.kind == "hostname" and subject in ("address", "network", "url") and (address(host) or network(host)):
        return subject != "network" and host in one.entries()


def the_host_of_a_mail_address(one, subject, value):
    if one.kind == "hostname" and subject == "mail":
        return value.lower().rpartition("@")[2] in one.resting()


def a_network_in_a_network(one, subject, value):
    if one.kind == "cidr" and subject == "network":
        asked = ipaddress.ip_network(value)
        return any(asked.version == found.version and asked.subnet_of(found) for found in one.networks())


def values_and_not_letters(one, subject, value):
    is_lower = subject == "mail" or one.kind == "substring"
    return (value.lower() if is_lower else value) in one.resting()


REASONS = [regular_expressions, no_names_above_an_address, the_host_of_a_mail_address, a_network_in_a_network, values_and_not_letters]


def reason(one, subject, value, ours):
    for explain in REASONS:
        right = explain(one, subject, value)
        if right is not None:
            return explain.__name__ if right == ours else None


def subject_of(subject, value):
    return {32: "md5", 40: "sha1", 64: "sha256"}[len(value)] if subject == "hash" else subject


def main():
    lists = [List(document) for document in json.loads(sys.stdin.readline())]
    counts, unexplained = collections.Counter(), []
    for line in sys.stdin:
        subject, value, found = line.rstrip("\n").split("\t")
        subject, found = subject_of(subject, value), {int(place) for place in found.split()}
        counts["values"] += 1
        for place, one in enumerate(lists):
            ours = place in found
            if not one.is_about(subject):
                if ours:
                    unexplained.append(f"{subject} {value}: on \"{one.oracle.name}\", which is not about it")
                continue
            theirs = one.has(value)
            counts["asked"] += 1
            counts["found"] += ours
            if theirs == ours:
                continue
            why = reason(one, subject, value, ours)
            counts[why or "unexplained"] += 1
            if why is None:
                unexplained.append(f"{subject} {value}: \"{one.oracle.name}\" ({one.kind}): we say {ours}, they {theirs}")
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())), file=sys.stderr)
    print("\n".join(unexplained[:100]))


main()
