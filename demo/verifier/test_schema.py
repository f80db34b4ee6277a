"""That a summary of another form than demo/summary.schema.json is refused, and why. Run: python3 -B -m unittest test_schema"""

import copy
import json
import unittest
from pathlib import Path

from schema import BadForm, check

SCHEMA = json.loads((Path(__file__).resolve().parent.parent / "summary.schema.json").read_text())
ADDRESS, HASH, DIGEST = "0x" + "aB" * 20, "0x" + "cd" * 32, "ef" * 32
TRANSACTION = {"hash": HASH, "kind": "closing", "block": 7, "amount": "0", "gas_used": 1, "l2_fee_wei": "1",
               "l1_fee_wei": "1", "l1_estimated": True}
LEASE = {"id": HASH, "node": "n", "provider": ADDRESS, "price_per_hour": "1", "deposit": "10", "topped_up": "0",
         "earned": "3", "builder": "0", "refund": "7", "metered_ms": 5, "transactions": [TRANSACTION]}
FRAME = {"frame": 1, "part": 0, "file": "frames/frame_0001.png", "node": "n", "lease": HASH, "sha256": DIGEST,
         "blake3": DIGEST}
GOOD = {
    "schema": "gpux.demo-summary/v1",
    "network": {"rpc": "http://127.0.0.1:1", "chain_id": 901, "escrow": ADDRESS, "token": ADDRESS, "symbol": "DAI",
                "decimals": 18},
    "job": {"id": "1", "name": "shot"},
    "leases": [LEASE],
    "frames": [FRAME],
    "totals": {"paid_in": "10", "earned": "3", "builder": "0", "refund": "7"},
    "transactions": 3,
    "timings": [{"step": "plan", "ms": 1}],
}

# Where, what is put there (nothing: it is taken away), and words of the refusal.
WRONG = (
    ("schema", "gpux.demo-summary/v2", "summary.schema is"),
    ("totals", None, "summary lacks totals"),
    ("more", 1, "summary has more"),
    ("transactions", "3", "summary.transactions is '3', no integer"),
    ("transactions", True, "no integer"),
    ("leases", {}, "no array"),
    ("network.decimals", 78, "summary.network.decimals is 78, out of bounds"),
    ("network.escrow", ADDRESS[:-1], "not of the form"),
    ("totals.refund", 7, "no string"),
    ("totals.refund", "07", "not of the form"),
    ("leases.0.metered_ms", -1, "summary.leases[0].metered_ms is -1, out of bounds"),
    ("leases.0.transactions.0.kind", "gift", "none of"),
    ("leases.0.transactions.0.l1_estimated", 1, "no boolean"),
    ("frames.0.file", "frames/../../x", "not of the form"),
)


def changed(where, value):
    document = copy.deepcopy(GOOD)
    *way, last = [int(step) if step.isdigit() else step for step in where.split(".")]
    at = document
    for step in way:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return document


class Summaries(unittest.TestCase):
    def test_a_summary_of_the_form_passes(self):
        check(GOOD, SCHEMA)

    def test_every_other_form_is_refused_with_where_and_why(self):
        for where, value, reason in WRONG:
            with self.subTest(where=where, value=value), self.assertRaises(BadForm) as refused:
                check(changed(where, value), SCHEMA)
            self.assertIn(reason, str(refused.exception))

    def test_a_schema_with_a_word_that_is_not_known_checks_nothing_silently(self):
        with self.assertRaises(BadForm):
            check(GOOD, {**SCHEMA, "minProperties": 1})


if __name__ == "__main__":
    unittest.main()
