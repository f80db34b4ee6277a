"""A client of Ethereum's JSON-RPC: only reads, over plain HTTP requests."""

import json
import urllib.request

# A block of the devnet is kilobytes; an answer this large is a broken or hostile endpoint.
MOST_BYTES = 64 * 1024 * 1024
TIMEOUT_SECONDS = 30


class RpcError(Exception):
    """The endpoint could not be asked, or refused."""


class Rpc:
    def __init__(self, url):
        self.url = url
        self.next_id = 0

    def call(self, method, *params):
        self.next_id += 1
        body = json.dumps({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as reply:
                answer = json.loads(reply.read(MOST_BYTES))
        except (OSError, ValueError) as problem:
            raise RpcError(f"asking {self.url} for {method}: {problem}") from None
        if not isinstance(answer, dict) or "result" not in answer:
            raise RpcError(f"asking {self.url} for {method}: {answer.get('error') if isinstance(answer, dict) else answer}")
        return answer["result"]

    def chain_id(self):
        return int(self.call("eth_chainId"), 16)

    def block(self, number):
        """A block with its transactions in full."""
        block = self.call("eth_getBlockByNumber", hex(number), True)
        if block is None:
            raise RpcError(f"asking {self.url} for block {number}: it does not exist")
        return block

    def receipt(self, transaction):
        receipt = self.call("eth_getTransactionReceipt", transaction)
        if receipt is None:
            raise RpcError(f"asking {self.url} for the receipt of {transaction}: there is none")
        return receipt

    def logs(self, address, first, last, topics):
        return self.call("eth_getLogs", {
            "address": address, "fromBlock": hex(first), "toBlock": hex(last), "topics": topics,
        })

    def read(self, contract, data, number):
        """The words that a view function of a contract returned at a block."""
        answer = self.call("eth_call", {"to": contract, "data": data}, hex(number))[2:]
        return [int(answer[at:at + 64], 16) for at in range(0, len(answer), 64)]
