"""Signs and verifies with Stripe's library for Python: reads a JSON list of tasks, prints one of results."""

import json
import sys
import time
from unittest.mock import patch

import stripe

client = stripe.StripeClient("sk_test_0")


def verify(task):
    read = client.parse_event_notification if task.get("thin") else client.construct_event
    now = task.get("now") or time.time()
    try:
        with patch("time.time", return_value=now):
            event = read(task["payload"].encode(), task["header"], task["secret"])
    except (stripe.SignatureVerificationError, ValueError) as error:
        return {"error": type(error).__name__}
    return {"id": event.id, "type": event.type}


def sign(task):
    sign = stripe.WebhookSignature.generate_signature_header
    return {"header": sign(task["payload"], task["secret"], task["timestamp"])}


tasks = json.loads(sys.stdin.buffer.read())
print(json.dumps([verify(task) if "header" in task else sign(task) for task in tasks]))
