"""Uses Stripe's library for Python on the stand-in for its API: reads {"port", "key"} and prints what it found."""

import json
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import stripe

task = json.load(sys.stdin)
base = f"http://127.0.0.1:{task['port']}"


def client(key):
    return stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=2)


def control(path, method, body):
    request = urllib.request.Request(
        f"{base}/_sandbox/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
    )
    urllib.request.urlopen(request).close()


def failure(act):
    try:
        act()
    except stripe.StripeError as error:
        return {"type": type(error).__name__, "status": error.http_status, "code": error.code}
    return None


received = []


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        received.append((body, self.headers["Stripe-Signature"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


api = client(task["key"])
found = {}
charges = list(api.v1.charges.list({"limit": 100}).auto_paging_iter())
found["charges"] = len(charges)
intents = api.v1.payment_intents.list({"limit": 50, "expand": ["data.latest_charge.balance_transaction"]}).data
expanded = [it.latest_charge.balance_transaction for it in intents if getattr(it.latest_charge, "id", None)]
found["expanded"] = any(isinstance(getattr(it, "fee", None), int) for it in expanded)
events = api.v1.events.list({"types": ["charge.succeeded"], "created": {"gte": charges[20].created}}).data
found["filtered"] = bool(events) and all(event.type == "charge.succeeded" for event in events)
sums = {}
for transaction in api.v1.balance_transactions.list({"limit": 100}).auto_paging_iter():
    sums[transaction.currency] = sums.get(transaction.currency, 0) + transaction.net
balance = api.v1.balance.retrieve()
for part in [*balance.available, *balance.pending]:
    sums[part.currency] -= part.amount
found["balances"] = not any(sums.values())

found["missing"] = failure(lambda: api.v1.charges.retrieve("ch_none"))
found["unauthorized"] = failure(lambda: client("sk_test_wrong").v1.charges.list())
control("keys", "POST", {"key": "rk_test_events", "permissions": ["rak_event_read"]})
found["forbidden"] = failure(lambda: client("rk_test_events").v1.charges.list())
control("faults", "POST", {"kind": "error", "status": 503, "times": 2, "route": "charges"})
found["retried"] = len(api.v1.charges.list({"limit": 1}).data)

server = HTTPServer(("127.0.0.1", 0), Hook)
Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/hook"
destination = api.v2.core.event_destinations.create(
    {
        "name": "Thin",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events": ["v1.charge.succeeded"],
        "webhook_endpoint": {"url": url},
        "include": ["webhook_endpoint.signing_secret"],
    }
)
endpoint = api.v1.webhook_endpoints.create({"url": url, "enabled_events": ["*"]})
charge = charges[0]
control("events", "POST", {"id": "evt_library", "type": "charge.succeeded", "data": {"object": json.loads(str(charge))}})
wait = urllib.request.urlopen(f"{base}/_sandbox/wait?succeeded=2")
wait.close()
for body, signature in received:
    if json.loads(body)["object"] == "event":
        event = api.construct_event(body, signature, endpoint.secret)
        found["snapshot"] = event.data.object.id == charge.id
    else:
        thin = api.parse_event_notification(body, signature, destination.webhook_endpoint.signing_secret)
        found["thin"] = [thin.type, thin.fetch_related_object().id == charge.id, thin.fetch_event().snapshot_event]
found["disabled"] = api.v2.core.event_destinations.disable(destination.id).status
found["listed"] = len(list(api.v2.core.event_destinations.list().auto_paging_iter()))
found["deleted"] = api.v1.webhook_endpoints.delete(endpoint.id).deleted
server.shutdown()
json.dump(found, sys.stdout)
