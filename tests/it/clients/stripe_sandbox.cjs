// Uses Stripe's library for Node on the stand-in for its API: reads {"port", "key", "hook"} and prints what it found.
const { readFileSync } = require('node:fs');
const http = require('node:http');
const Stripe = require('stripe');

const task = JSON.parse(readFileSync(0, 'utf8'));
const options = { host: '127.0.0.1', port: task.port, protocol: 'http', maxNetworkRetries: 2 };
const stripe = new Stripe(task.key, options);

/** What an error of the library is. */
async function failure(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    const { type, statusCode, code, param } = error;
    return { type, statusCode, code, param };
  }
}

/** Receives webhooks until one is accepted by `accepts`. */
function receive(server, accepts) {
  return new Promise((resolve, reject) => {
    server.removeAllListeners('request');
    server.on('request', (request, response) => {
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', () => {
        response.end();
        try {
          const result = accepts(Buffer.concat(chunks), request.headers['stripe-signature']);
          if (result) resolve(result);
        } catch (error) {
          reject(error);
        }
      });
    });
  });
}

async function control(path, method, body) {
  const answer = await fetch(`http://127.0.0.1:${task.port}/_sandbox/${path}`, {
    method, body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' },
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
}

async function main() {
  const found = {};
  found.charges = (await stripe.charges.list({ limit: 100 }).autoPagingToArray({ limit: 10_000 })).length;
  const page = await stripe.charges.list({ limit: 5 });
  found.backwards = (await stripe.charges.list({ limit: 2, ending_before: page.data[4].id })).data.map(({ id }) => id).join()
    === page.data.slice(2, 4).map(({ id }) => id).join();
  const intents = await stripe.paymentIntents.list({ limit: 50, expand: ['data.latest_charge.balance_transaction'] });
  found.expanded = intents.data.some(({ latest_charge }) => Number.isInteger(latest_charge?.balance_transaction?.fee));
  const week = await stripe.events.list({ created: { gte: page.data[4].created }, types: ['charge.succeeded', 'charge.failed'] });
  found.filtered = week.data.length > 0 && week.data.every(({ type }) => type === 'charge.succeeded' || type === 'charge.failed');
  const account = await stripe.accounts.retrieveCurrent?.() ?? await stripe.accounts.retrieve();
  found.account = account.id;
  const sums = {};
  for await (const { currency, net } of stripe.balanceTransactions.list({ limit: 100 })) sums[currency] = (sums[currency] ?? 0) + net;
  const balance = await stripe.balance.retrieve();
  for (const { currency, amount } of [...balance.available, ...balance.pending]) sums[currency] -= amount;
  found.balances = Object.values(sums).every((left) => left === 0);

  found.missing = await failure(stripe.charges.retrieve('ch_none'));
  found.unauthorized = await failure(new Stripe('sk_test_wrong', options).charges.list());
  await control('keys', 'POST', { key: 'rk_test_events', permissions: ['rak_event_read'] });
  found.forbidden = await failure(new Stripe('rk_test_events', options).charges.list());
  found.wrong = await failure(stripe.charges.list({ limit: 1000 }));
  await control('faults', 'POST', { kind: 'error', status: 503, times: 2, route: 'charges' });
  found.retried = (await stripe.charges.list({ limit: 1 })).data.length;
  await control('faults', 'POST', { kind: 'rate_limited', should_retry: true, route: 'charges' });
  found.throttled = (await stripe.charges.list({ limit: 1 })).data.length;
  await control('faults', 'POST', { kind: 'drop', route: 'charges' });
  found.reconnected = (await stripe.charges.list({ limit: 1 })).data.length;
  await control('faults', 'POST', { kind: 'error', status: 500, should_retry: false, route: 'charges' });
  found.refused = await failure(stripe.charges.list({ limit: 1 }));

  const server = http.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const url = `http://127.0.0.1:${server.address().port}/hook`;
  const endpoint = await stripe.webhookEndpoints.create({ url, enabled_events: ['charge.succeeded'], metadata: { team: 'a' } });
  const destination = await stripe.v2.core.eventDestinations.create({
    name: 'Thin', type: 'webhook_endpoint', event_payload: 'thin', enabled_events: ['v1.charge.succeeded'],
    webhook_endpoint: { url }, include: ['webhook_endpoint.signing_secret', 'webhook_endpoint.url'],
  });
  const charge = page.data.find(({ status }) => status === 'succeeded') ?? page.data[0];
  const event = { id: 'evt_library', type: 'charge.succeeded', data: { object: charge } };
  let snapshot;
  let thin;
  const both = receive(server, (body, signature) => {
    if (JSON.parse(body).object === 'event') {
      snapshot = stripe.webhooks.constructEvent(body, signature, endpoint.secret);
    } else {
      thin = stripe.parseEventNotification(body, signature, destination.webhook_endpoint.signing_secret);
    }
    return snapshot && thin;
  });
  await control('events', 'POST', event);
  await both;
  found.snapshot = { id: snapshot.id, object: snapshot.data.object.id === charge.id };
  found.thin = { type: thin.type, object: (await thin.fetchRelatedObject()).id === charge.id, event: (await thin.fetchEvent()).snapshot_event };

  const ping = receive(server, (body, signature) =>
    stripe.parseEventNotification(body, signature, destination.webhook_endpoint.signing_secret));
  await stripe.v2.core.eventDestinations.ping(destination.id);
  found.ping = (await ping).type;
  found.disabled = (await stripe.v2.core.eventDestinations.disable(destination.id)).status;
  found.enabled = (await stripe.v2.core.eventDestinations.enable(destination.id)).status;
  found.listed = (await stripe.v2.core.eventDestinations.list().autoPagingToArray({ limit: 100 })).length;
  found.thin_list = (await stripe.v2.core.events.list({ object_id: charge.id, limit: 1 }).autoPagingToArray({ limit: 100 })).length > 1;
  found.updated = (await stripe.webhookEndpoints.update(endpoint.id, { disabled: true })).status;
  found.secret_again = (await stripe.webhookEndpoints.retrieve(endpoint.id)).secret ?? null;
  found.deleted = (await stripe.webhookEndpoints.del(endpoint.id)).deleted;
  found.missing_destination = await failure(stripe.v2.core.eventDestinations.retrieve('ed_none'));
  server.closeAllConnections();
  server.close();
  // A dropped connection leaves a timer of the library behind, which would keep the process.
  process.stdout.write(JSON.stringify(found), () => process.exit(0));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
