"""The demo's verifier: see demo/verify. Runs every check that it can, so that one run names all that is wrong."""

import argparse
import sys
from pathlib import Path

import chain
from chain import Wrong
from rpc import Rpc, RpcError
from summary import BadSummary, check_form, read_summary


class Report:
    """What held and what did not, by the name of the check."""

    def __init__(self):
        self.failed = []

    def run(self, name, done, check, *arguments):
        """The check's result, or None when it failed or had nothing to work on."""
        if any(argument is None for argument in arguments):
            self.failed.append(name)
            print(f"FAIL  {name}: not run, because what it needs failed", flush=True)
            return None
        try:
            result = check(*arguments)
        except (Wrong, RpcError, BadSummary, OSError) as problem:
            self.failed.append(name)
            print(f"FAIL  {name}: {problem}", flush=True)
            return None
        except (ArithmeticError, LookupError, TypeError, ValueError) as problem:
            # An endpoint or a file that is not of its form.
            self.failed.append(name)
            print(f"FAIL  {name}: could not be read: {type(problem).__name__}: {problem}", flush=True)
            return None
        print(f"ok    {name}: {done(result)}", flush=True)
        return result if result is not None else True


def arguments():
    parser = argparse.ArgumentParser(prog="verify", description="Checks a finished demo from the outside.")
    parser.add_argument("--rpc", required=True, metavar="URL", help="the chain's JSON-RPC endpoint")
    parser.add_argument("--escrow", required=True, metavar="ADDRESS")
    parser.add_argument("--token", required=True, metavar="ADDRESS")
    parser.add_argument("--transactions", type=int, choices=(9, 3), default=9,
                        help="how many there must be: 9 one by one, 3 in a batch")
    parser.add_argument("--money-only", action="store_true", help="check the chain and the bill, and no frame or film")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="what the demo wrote")
    return parser.parse_args()


def read_and_match(out, escrow, token):
    check_form(out / "summary.json")
    read = read_summary(out / "summary.json")
    for name, given, claimed in (("escrow", escrow, read.escrow), ("token", token, read.token)):
        if given.lower() != claimed:
            raise Wrong(f"the {name} is {given}; the summary is about {claimed}")
    return read


def main():
    given, report = arguments(), Report()
    out, rpc = given.out, Rpc(given.rpc)
    claimed = report.run("summary", lambda s: f"{len(s.leases)} leases, {len(s.frames)} frames",
                         read_and_match, out, given.escrow, given.token)
    ledger = report.run("transactions", lambda l: f"{len(l.found)} in blocks {l.first} to {l.last}, whoever sent them",
                        lambda *what: chain.check_transactions(*what, given.transactions), rpc, claimed)
    report.run("money", lambda _: "all in equals all out to the last unit, as billed",
               chain.check_money, rpc, claimed, ledger)
    report.run("bill", lambda _: "price times metered time; gas and fees as mined",
               chain.check_bill, rpc, claimed, ledger)
    if not given.money_only:
        look(report, out, claimed, ledger)
    checks = 4 if given.money_only else 8
    if report.failed:
        print(f"verify: {len(report.failed)} of {checks} checks failed: {' '.join(report.failed)}", flush=True)
        return 1
    print(f"verify: all {checks} checks hold", flush=True)
    return 0


def look(report, out, claimed, ledger):
    """The checks of pictures, which need more than Python."""
    import pictures  # pylint: disable=import-outside-toplevel

    frames = report.run("frames", lambda p: f"{len(p)} delivered, pairwise different, none black",
                        pictures.check_frames, out, claimed)
    # The film is looked at even when the frames are wrong.
    report.run("film", lambda _: f"{pictures.FRAMES} pictures, pairwise different, none black, each frame in its place",
               lambda: pictures.check_film(out, frames))
    report.run("work", lambda _: f"at least {pictures.LEAST_FRAMES_PER_NODE} frames from each node",
               pictures.check_work, out, claimed)
    report.run("render", lambda r: f"frame {r[0]} is what Blender renders here ({r[1]:.2f} apart)",
               pictures.check_render, out, frames, ledger and ledger.last_hash)


if __name__ == "__main__":
    sys.exit(main())
