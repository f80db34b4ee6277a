"""What the builder's share is made of, proven of whole numbers by Z3, and refuted where a limit is lifted.

`LeaseMath.builderTotal(claimed, bps)` is floor(claimed * bps / 10000). `Share.sol` assumes of it what is proven here.
Run by tools/proofs. Must not know of anything but integers: that 112 bits fit into a word of 256 is proven as well.
"""
import sys

from z3 import And, Implies, Ints, Not, Solver, sat, unsat

claimed, more, bps = Ints("claimed more bps")


def total(amount):
    return (amount * bps) / 10_000  # of integers: rounded down


def domain(limit):
    return And(0 <= claimed, claimed <= more, more < 2**96, 0 <= bps, bps <= limit)


FACTS = [
    # name, fact, the limit of the share with which it holds, one with which it must fail
    ("the builder's total grows with what is claimed", total(claimed) <= total(more), 10_000, None),
    ("it grows by no more than what is claimed", total(more) - total(claimed) <= more - claimed, 10_000, 20_000),
    ("it is at most a tenth of what is claimed", total(more) * 10 <= more, 1_000, 1_001),
    ("the product fits into 256 bits", And(more * bps < 2**256, total(more) < 2**96), 10_000, None),
]


def holds(fact, limit):
    solver = Solver()
    solver.set("timeout", 60_000)
    solver.add(Not(Implies(domain(limit), fact)))
    return solver.check()


failed = False
for name, fact, limit, twin in FACTS:
    proven = holds(fact, limit) == unsat and (twin is None or holds(fact, twin) == sat)
    print(f"{'proven' if proven else 'NOT PROVEN'}: {name}" + (f"; refuted for a share of {twin}" if twin else ""))
    failed = failed or not proven
sys.exit(1 if failed else 0)
