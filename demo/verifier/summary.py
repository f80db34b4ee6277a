"""Reads summary.json of a demo: what the product claims. Everything in it is checked elsewhere; here only its form.

The form is that of demo/summary.schema.json, which `check_form` checks whole; the reader is strict about what the checks use.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import schema

SCHEMA = "gpux.demo-summary/v1"
MOST_BYTES = 16 * 1024 * 1024


class BadSummary(Exception):
    """summary.json has not the form that its schema names."""


@dataclass(frozen=True)
class Transaction:
    hash: str
    kind: str
    block: int
    amount: int
    gas_used: int
    l2_fee: int


@dataclass(frozen=True)
class Lease:
    id: str
    node: str
    provider: str
    price_per_hour: int
    deposit: int
    topped_up: int
    earned: int
    builder: int
    refund: int
    metered_ms: int
    transactions: tuple


@dataclass(frozen=True)
class Frame:
    number: int
    part: int
    file: str
    node: str
    lease: str
    sha256: str


@dataclass(frozen=True)
class Summary:
    chain_id: int
    escrow: str
    token: str
    leases: tuple
    frames: tuple
    totals: dict
    transactions: int


class Reader:
    """One object of the document, with the path to it for messages."""

    def __init__(self, value, path="summary"):
        if not isinstance(value, dict):
            raise BadSummary(f"{path} is not an object")
        self.value, self.path = value, path

    def get(self, key):
        if key not in self.value:
            raise BadSummary(f"{self.path}.{key} is missing")
        return self.value[key]

    def object(self, key):
        return Reader(self.get(key), f"{self.path}.{key}")

    def objects(self, key):
        value = self.get(key)
        if not isinstance(value, list):
            raise BadSummary(f"{self.path}.{key} is not a list")
        return [Reader(item, f"{self.path}.{key}[{i}]") for i, item in enumerate(value)]

    def whole(self, key):
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise BadSummary(f"{self.path}.{key} is not a whole number: {value!r}")
        return value

    def amount(self, key):
        """Money is a text of digits in the token's smallest unit."""
        return int(self.match(key, r"0|[1-9][0-9]{0,77}"))

    def match(self, key, pattern):
        value = self.get(key)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise BadSummary(f"{self.path}.{key} is not of the form {pattern}: {value!r}")
        return value

    def address(self, key):
        return self.match(key, r"0x[0-9a-fA-F]{40}").lower()

    def hash(self, key):
        return self.match(key, r"0x[0-9a-fA-F]{64}").lower()

    def text(self, key):
        return self.match(key, r"[\x20-\x7e]{1,200}")


def read_transaction(item):
    return Transaction(
        hash=item.hash("hash"), kind=item.match("kind", "deposit|top_up|draw|settlement|closing|reclaim"), block=item.whole("block"),
        amount=item.amount("amount"), gas_used=item.whole("gas_used"), l2_fee=item.amount("l2_fee_wei"),
    )


def read_lease(item):
    return Lease(
        id=item.hash("id"), node=item.text("node"), provider=item.address("provider"),
        price_per_hour=item.amount("price_per_hour"), deposit=item.amount("deposit"),
        topped_up=item.amount("topped_up"), earned=item.amount("earned"), builder=item.amount("builder"),
        refund=item.amount("refund"), metered_ms=item.whole("metered_ms"),
        transactions=tuple(map(read_transaction, item.objects("transactions"))),
    )


def read_frame(item):
    return Frame(
        number=item.whole("frame"), part=item.whole("part"),
        # A name in the output folder and nothing else: no way out of it.
        file=item.match("file", r"frames/frame_[0-9]{4,7}\.png"),
        node=item.text("node"), lease=item.hash("lease"), sha256=item.match("sha256", r"[0-9a-f]{64}"),
    )


def read_json(path):
    try:
        return json.loads(path.open("rb").read(MOST_BYTES))
    except (OSError, ValueError) as problem:
        raise BadSummary(f"{path}: {problem}") from None


def check_form(path):
    """Raises where the file is not of the form of summary.schema.json."""
    published = read_json(Path(__file__).resolve().parent.parent / "summary.schema.json")
    try:
        schema.check(read_json(path), published)
    except schema.BadForm as problem:
        raise BadSummary(str(problem)) from None


def read_summary(path):
    top = Reader(read_json(path))
    if top.get("schema") != SCHEMA:
        raise BadSummary(f"summary.schema is {top.get('schema')!r}; this verifier reads {SCHEMA!r}")
    network, totals = top.object("network"), top.object("totals")
    return Summary(
        chain_id=network.whole("chain_id"), escrow=network.address("escrow"), token=network.address("token"),
        leases=tuple(map(read_lease, top.objects("leases"))), frames=tuple(map(read_frame, top.objects("frames"))),
        totals={name: totals.amount(name) for name in ("paid_in", "earned", "builder", "refund")},
        transactions=top.whole("transactions"),
    )
