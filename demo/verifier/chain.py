"""What the chain itself says: which transactions there were, who was paid what, and whether the bill tells the same.

Nothing is taken from the summary but the ids of the leases and the numbers that are compared.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from keccak import keccak256, selector, topic

TRANSFER = topic("Transfer(address,address,uint256)")
OPENED = topic("LeaseOpened(bytes32,address,address,address,uint96,uint40)")
TOPPED_UP = topic("LeaseToppedUp(bytes32,address,uint96,uint96,uint40)")
SETTLED = topic("LeaseSettled(bytes32,uint96,uint96,uint96)")
CLOSED = topic("LeaseClosed(bytes32,uint96,uint96,uint96)")
KINDS = {OPENED: "deposit", TOPPED_UP: "top_up", SETTLED: "settlement", CLOSED: "closing"}
OPEN_MANY = {
    selector("openMany((address,address,address,address,uint16,uint32),((address,address,bytes32),uint96,uint40)[])"),
    selector("openManyWithPermit((address,address,address,address,uint16,uint32),"
             "((address,address,bytes32),uint96,uint40)[],uint256,uint8,bytes32,bytes32)"),
}
BALANCE_OF = selector("balanceOf(address)")
LEASE_OF = selector("leaseOf(bytes32)")
STATUS_CLOSED = 2
MS_PER_HOUR = 3_600_000

# A lease the plain way: a deposit, a top-up and a settlement that refunds, in a transaction each. In a batch the renter
# closes all leases, with the amounts that their providers signed, and each transaction is for all leases.
ENDS = {"one": "settlement", "all": "closing"}
# More blocks than a demo can take; a bound for an endpoint that lies about its blocks.
MOST_BLOCKS = 5_000


class Wrong(Exception):
    """A check does not hold; the text says what was expected and what was found."""


def expect(condition, text):
    if not condition:
        raise Wrong(text)


def address(word):
    return f"0x{word:040x}"


def words_of(data):
    data = data.removeprefix("0x")
    return [int(data[at:at + 64], 16) for at in range(0, len(data), 64)]


@dataclass
class Movement:
    """What one transaction did to one lease, and every transfer of the token in it, also for other leases."""

    hash: str
    kind: str
    block: int
    lease: str
    event: dict
    terms: tuple
    gas_used: int
    fee: int
    transfers: list = field(default_factory=list)


@dataclass
class Ledger:
    """Everything between the first deposit and the last settlement."""

    first: int
    last: int
    opened_at: dict
    settled_at: dict
    end: str
    last_hash: str
    found: list
    movements: list


def escrow_events(rpc, summary):
    """Every event of the escrow for a lease of the summary."""
    head = int(rpc.call("eth_blockNumber"), 16)
    ids = [lease.id for lease in summary.leases]
    return rpc.logs(summary.escrow, 0, head, [list(KINDS), ids])


def read_event(log):
    """Kind, lease and values of an event: the lease comes first, indexed or not the rest follows as declared."""
    kind = KINDS[log["topics"][0]]
    values = [int(word, 16) for word in log["topics"][2:]] + words_of(log["data"])
    if kind == "deposit":
        renter, provider, token, deposit, _expiry = values
        event = {"renter": address(renter), "provider": address(provider), "token": address(token), "deposit": deposit}
    elif kind == "top_up":
        source, amount, _deposit, _expiry = values
        event = {"from": address(source), "amount": amount}
    else:
        event = dict(zip(("paid", "builder", "refund"), values, strict=True))
    return kind, log["topics"][1].lower(), event


def terms_of_legs(words):
    """The terms that `openMany` names: six words of the job once, three of each lease in its leg."""
    renter, receipt_key, token, builder, builder_bps, grace = words[:6]
    at = words[6] // 32
    legs = [words[at + 1 + 5 * leg:at + 6 + 5 * leg] for leg in range(words[at])]
    return [(renter, receipt_key, provider, signer, token, builder, builder_bps, grace, salt)
            for provider, signer, salt, _deposit, _expiry in legs]


def terms_of(call, count):
    """The terms of each lease that a call opens. Calls for one lease begin with their nine words."""
    words = words_of(call[10:])
    if call[:10] in OPEN_MANY:
        return terms_of_legs(words)
    return [tuple(words[:9])] * count


def read_movements(rpc, summary, transaction, leases):
    """One for each lease, in the order of the transaction's events."""
    receipt = rpc.receipt(transaction["hash"])
    events = [log for log in receipt["logs"] if log["address"].lower() == summary.escrow]
    expect(int(receipt["status"], 16) == 1, f"transaction {transaction['hash']} failed")
    known = [log for log in events if log["topics"][0] in KINDS]
    expect(len(known) == len(events) == leases, f"transaction {transaction['hash']} holds {len(events)} events of the "
           f"escrow, {len(known)} of them about money of a lease; expected {leases}")
    transfers = [
        (address(int(log["topics"][1], 16)), address(int(log["topics"][2], 16)), int(log["data"], 16))
        for log in receipt["logs"] if log["address"].lower() == summary.token and log["topics"][0] == TRANSFER
    ]
    gas = int(receipt["gasUsed"], 16)
    terms = terms_of(transaction["input"], leases)
    movements = []
    for log, terms in zip(known, terms, strict=True):
        kind, lease, event = read_event(log)
        movements.append(Movement(
            hash=transaction["hash"].lower(), kind=kind, block=int(receipt["blockNumber"], 16), lease=lease,
            event=event, terms=terms, gas_used=gas, fee=gas * int(receipt["effectiveGasPrice"], 16), transfers=transfers,
        ))
    expect(len({movement.kind for movement in movements}) == 1, f"transaction {transaction['hash']} does two things")
    return movements


def check_transactions(rpc, summary, wanted):
    """From the block of the first deposit through that of the last lease's end: exactly so many, whoever sent them."""
    expect(rpc.chain_id() == summary.chain_id, f"the chain is {rpc.chain_id()}; the bill says {summary.chain_id}")
    for name, contract in (("escrow", summary.escrow), ("token", summary.token)):
        expect(len(rpc.call("eth_getCode", contract, "latest")) > 2, f"there is no contract at the {name} {contract}")
    expect(3 * len(summary.leases) % wanted == 0, f"{len(summary.leases)} leases cannot share {wanted} transactions")
    each = 3 * len(summary.leases) // wanted
    end = ENDS["all" if each > 1 else "one"]

    opened, settled = {}, {}
    for log in escrow_events(rpc, summary):
        kind, lease, _ = read_event(log)
        where = {"deposit": opened, end: settled}.get(kind)
        if where is not None:
            where[lease] = int(log["blockNumber"], 16)
    for lease in summary.leases:
        expect(lease.id in opened, f"lease {lease.id} of the bill was never opened on the chain")
        expect(lease.id in settled, f"lease {lease.id} of the bill has no {end} on the chain")
    first, last = min(opened.values()), max(settled.values())
    expect(last - first < MOST_BLOCKS, f"{last - first} blocks from the first deposit to the last {end}")

    found, last_hash = [], ""
    for number in range(first, last + 1):
        block = rpc.block(number)
        found += block["transactions"]
        last_hash = block["hash"]
    expect(len(found) == wanted,
           f"blocks {first} to {last} hold {len(found)} transactions, whoever sent them; expected {wanted}")
    expect(summary.transactions == wanted, f"the bill counts {summary.transactions} transactions")
    movements = [movement for transaction in found for movement in read_movements(rpc, summary, transaction, each)]
    for lease in summary.leases:
        kinds = Counter(movement.kind for movement in movements if movement.lease == lease.id)
        expect(kinds == {"deposit": 1, "top_up": 1, end: 1}, f"lease {lease.id} has {dict(kinds)}")
    return Ledger(first, last, opened, settled, end, last_hash, found, movements)


def balance(rpc, token, owner, block):
    return rpc.read(token, BALANCE_OF + owner[2:].zfill(64), block)[0]


def expect_transfers(ledger, wanted):
    """The transfers of each transaction are exactly what its events say; payments of nothing need no transfer."""
    for movement in ledger.movements:
        found, expected = Counter(), Counter()
        for source, target, amount in movement.transfers:
            found[source, target] += amount
        for source, target, amount in wanted[movement.hash]:
            expected[source, target] += amount
        expect(+found == +expected,
               f"{movement.kind} {movement.hash} moved {dict(found)}; its events say {dict(+expected)}")


def check_lease_money(rpc, summary, ledger, lease):
    """In equals out to the last unit, and both equal the bill; returns the renter, the builder, and what each transaction
    of the lease should have transferred for it."""
    of_lease = {m.kind: m for m in ledger.movements if m.lease == lease.id}
    opening, top_up, settling = of_lease["deposit"], of_lease["top_up"], of_lease[ledger.end]
    escrow, renter, provider = summary.escrow, opening.event["renter"], opening.event["provider"]
    words = (*opening.terms, summary.chain_id, int(escrow, 16))
    id_of_terms = "0x" + keccak256(b"".join(word.to_bytes(32, "big") for word in words)).hex()
    expect(id_of_terms == lease.id, f"lease {lease.id}: the terms in its deposit have the id {id_of_terms}")
    expect(opening.event["token"] == summary.token, f"lease {lease.id} is in token {opening.event['token']}")
    builder, builder_bps, paid = address(opening.terms[5]), opening.terms[6], settling.event
    wanted = {
        opening.hash: [(renter, escrow, opening.event["deposit"])],
        top_up.hash: [(top_up.event["from"], escrow, top_up.event["amount"])],
        settling.hash: [
            (escrow, provider, paid["paid"]), (escrow, builder, paid["builder"]), (escrow, renter, paid["refund"])],
    }

    money_in = opening.event["deposit"] + top_up.event["amount"]
    money_out = paid["paid"] + paid["builder"] + paid["refund"]
    expect(money_in == money_out, f"lease {lease.id}: {money_in} in, {money_out} out")
    stored = rpc.read(escrow, LEASE_OF + lease.id[2:], ledger.last)
    claimed = paid["paid"] + paid["builder"]
    share = claimed * builder_bps // 10_000
    expect(paid["builder"] == share, f"lease {lease.id}: the builder got {paid['builder']}; its share is {share}")
    expect(stored[0] == money_in and stored[1] == claimed and stored[3] == STATUS_CLOSED,
           f"lease {lease.id}: the escrow stores {stored}; expected {money_in} in, {claimed} claimed, closed")
    for name, billed, real in (
        ("deposit", lease.deposit, opening.event["deposit"]), ("top-up", lease.topped_up, top_up.event["amount"]),
        ("earned", lease.earned, paid["paid"]), ("builder's share", lease.builder, paid["builder"]),
        ("refund", lease.refund, paid["refund"]),
    ):
        expect(billed == real, f"lease {lease.id}: the bill says {name} {billed}; the chain says {real}")
    expect(lease.provider == provider, f"lease {lease.id}: the bill names {lease.provider}; the chain paid {provider}")
    return renter, builder, wanted


def check_money(rpc, summary, ledger):
    """Every amount again from the token's transfers, and the same once more from balances before and after."""
    owners = {summary.escrow}
    wanted = defaultdict(list)
    for lease in summary.leases:
        renter, builder, of_lease = check_lease_money(rpc, summary, ledger, lease)
        owners |= {renter, builder, lease.provider}
        for transaction, transfers in of_lease.items():
            wanted[transaction] += transfers
    expect_transfers(ledger, wanted)
    change = defaultdict(int)
    for log in rpc.logs(summary.token, ledger.first, ledger.last, [TRANSFER]):
        amount = int(log["data"], 16)
        change[address(int(log["topics"][1], 16))] -= amount
        change[address(int(log["topics"][2], 16))] += amount
    for owner in sorted(owners):
        before, after = (balance(rpc, summary.token, owner, n) for n in (ledger.first - 1, ledger.last))
        expect(after - before == change[owner],
               f"{owner} went from {before} to {after}; the transfers say {change[owner]:+}")
    expect(change[summary.escrow] == 0, f"the escrow kept {change[summary.escrow]}")
    for name, total in (
        ("paid_in", sum(lease.deposit + lease.topped_up for lease in summary.leases)),
        ("earned", sum(lease.earned for lease in summary.leases)),
        ("builder", sum(lease.builder for lease in summary.leases)),
        ("refund", sum(lease.refund for lease in summary.leases)),
    ):
        expect(summary.totals[name] == total, f"the bill's total {name} is {summary.totals[name]}; its leases give {total}")


def check_bill(rpc, summary, ledger):
    """What was claimed is the price times the metered time; the transactions, gas and fees are the chain's."""
    real = {(movement.hash, movement.lease): movement for movement in ledger.movements}
    for lease in summary.leases:
        claimed = lease.earned + lease.builder
        owed = lease.price_per_hour * lease.metered_ms // MS_PER_HOUR
        expect(claimed == owed, f"lease {lease.id}: {lease.metered_ms} ms at {lease.price_per_hour} an hour is {owed}; "
               f"{claimed} was claimed")
        opened, settled = (int(rpc.block(at[lease.id])["timestamp"], 16) for at in (ledger.opened_at, ledger.settled_at))
        # The meter ran between two blocks, so it cannot show more than what lies between them.
        expect(lease.metered_ms <= (settled - opened) * 1000 + 2000,
               f"lease {lease.id}: metered {lease.metered_ms} ms in a lease of {settled - opened} s")
        expect(len(lease.transactions) == 3, f"lease {lease.id}: the bill lists {len(lease.transactions)} transactions")
        for billed in lease.transactions:
            expect((billed.hash, lease.id) in real, f"transaction {billed.hash} of the bill did nothing to its lease")
            mined = real[billed.hash, lease.id]
            found = (mined.lease, mined.kind, mined.block, mined.gas_used, mined.fee)
            expect((lease.id, billed.kind, billed.block, billed.gas_used, billed.l2_fee) == found,
                   f"transaction {billed.hash}: the bill says {billed}; the chain says {found}")
