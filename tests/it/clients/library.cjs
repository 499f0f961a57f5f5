// Signs and verifies with Stripe's library for Node: reads a JSON list of tasks, prints one of results.
const { readFileSync } = require('node:fs');
const Stripe = require('stripe');

const stripe = new Stripe('sk_test_0');

function verify({ payload, header, secret, now, thin }) {
  const read = thin ? stripe.parseEventNotification.bind(stripe) : stripe.webhooks.constructEvent.bind(stripe.webhooks);
  try {
    const { id, type } = read(Buffer.from(payload), header, secret, undefined, undefined, now && now * 1000);
    return { id, type };
  } catch (error) {
    return { error: error.type ?? error.message };
  }
}

const results = JSON.parse(readFileSync(0, 'utf8')).map((task) =>
  'header' in task ? verify(task) : { header: stripe.webhooks.generateTestHeaderString(task) }
);
process.stdout.write(JSON.stringify(results));
