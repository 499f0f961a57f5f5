// Calls Notion's API with its official client, as a third-party program would. Each scenario runs on a
// fresh sandbox: node notion.cjs STORY '{"baseUrl":…,"auth":…,"page":…,"database":…,"source":…}'
const assert = require('node:assert/strict');
const notion = require('@notionhq/client');

const [story, place] = [process.argv[2], JSON.parse(process.argv[3])];
const VERSION = '2026-03-11';
const client = (options) =>
  new notion.Client({ baseUrl: place.baseUrl, auth: place.auth, notionVersion: VERSION, logLevel: 'error', retry: false, ...options });
const api = client();

const text = (content) => [{ text: { content } }];
const titled = (content) => ({ EventId: { title: text(content) } });
const parent = { type: 'data_source_id', data_source_id: place.source };
const titles = (list) => list.results.map((page) => page.properties.EventId.title[0].plain_text);
const misbehave = (fault) =>
  fetch(`${place.baseUrl}/_sandbox/faults`, { method: 'POST', body: JSON.stringify(fault), headers: { 'Content-Type': 'application/json' } });

// The error of a call, by the client's own classes.
async function failure(call) {
  const error = await call.then(() => assert.fail('it should have failed'), (error) => error);
  return { error, kind: error.constructor.name, code: error.code, status: error.status };
}

const stories = {
  async tables() {
    const me = await api.users.me({});
    assert.equal(me.type, 'bot');
    const made = await api.databases.create({
      parent: { type: 'page_id', page_id: place.page },
      title: text('Payments'),
      initial_data_source: { properties: { Name: { title: {} }, Amount: { number: { format: 'euro' } }, Outcome: { select: { options: [{ name: 'Paid', color: 'green' }] } } } },
    });
    assert.ok(notion.isFullDatabase(made));
    assert.equal(made.title[0].plain_text, 'Payments');
    const data_source_id = made.data_sources[0].id;
    const read = await api.dataSources.retrieve({ data_source_id });
    assert.ok(notion.isFullDataSource(read));
    assert.deepEqual(Object.entries(read.properties).map(([name, { type }]) => [name, type]).sort(), [['Amount', 'number'], ['Name', 'title'], ['Outcome', 'select']]);
    assert.equal(read.properties.Outcome.select.options[0].color, 'green');
    assert.equal(read.properties.Amount.number.format, 'euro');

    const changed = await api.dataSources.update({
      data_source_id,
      properties: { Amount: { name: 'Betrag' }, Outcome: null, Invoice: { url: {} }, Day: { type: 'date', date: {} } },
    });
    assert.deepEqual(Object.keys(changed.properties).sort(), ['Betrag', 'Day', 'Invoice', 'Name']);
    assert.equal(changed.properties.Betrag.id, read.properties.Amount.id);
    const again = await api.databases.retrieve({ database_id: made.id });
    assert.deepEqual(again.data_sources, made.data_sources);
    const found = await api.search({ query: 'payments', filter: { property: 'object', value: 'data_source' } });
    assert.deepEqual(found.results.map(({ id }) => id), [data_source_id]);
  },

  async pages() {
    await api.dataSources.update({
      data_source_id: place.source,
      properties: { Day: { date: {} }, Done: { checkbox: {} }, Kind: { select: {} }, Tags: { multi_select: {} }, Link: { url: {} }, Phone: { phone_number: {} } },
    });
    const properties = {
      ...titled('evt_1'),
      Amount: { number: 12.5 },
      CustomerEmail: { email: 'jane@example.com' },
      Customer: { rich_text: [{ text: { content: 'Jane', link: { url: 'https://example.com/' } } }, { text: { content: ' Doe 🧾' } }] },
      Day: { date: { start: '2026-11-23T10:00:00.000+00:00', end: null } },
      Done: { checkbox: true },
      Kind: { select: { name: 'Paid' } },
      Tags: { multi_select: [{ name: 'a' }, { name: 'b' }] },
      Link: { url: 'https://example.com/1' },
      Phone: { phone_number: '+49 30 1' },
    };
    const paragraph = { object: 'block', type: 'paragraph', paragraph: { rich_text: text('more') } };
    const made = await api.pages.create({ parent, properties, children: [paragraph] });
    assert.ok(notion.isFullPage(made));
    const page = await api.pages.retrieve({ page_id: made.id });
    const is = page.properties;
    assert.deepEqual([is.Amount.number, is.CustomerEmail.email, is.Done.checkbox, is.Kind.select.name], [12.5, 'jane@example.com', true, 'Paid']);
    assert.deepEqual(is.Customer.rich_text.map((part) => [part.plain_text, part.href]), [['Jane', 'https://example.com/'], [' Doe 🧾', null]]);
    assert.deepEqual(is.Tags.multi_select.map(({ name }) => name), ['a', 'b']);
    assert.equal(Date.parse(is.Day.date.start), Date.parse('2026-11-23T10:00:00Z'));
    const appended = await api.blocks.children.append({ block_id: made.id, children: [paragraph] });
    assert.equal(appended.results[0].object, 'block');

    const updated = await api.pages.update({ page_id: made.id, properties: { Amount: { number: null }, Kind: { select: { name: 'Refunded' } } } });
    assert.deepEqual([updated.properties.Amount.number, updated.properties.Kind.select.name], [null, 'Refunded']);
    assert.equal(updated.properties.CustomerEmail.email, 'jane@example.com');
    const trashed = await api.pages.update({ page_id: made.id, in_trash: true });
    assert.equal(trashed.in_trash, true);
    const archived = await failure(api.pages.update({ page_id: made.id, properties: titled('evt_2') }));
    assert.deepEqual([archived.kind, archived.code, archived.status], ['APIResponseError', notion.APIErrorCode.ValidationError, 400]);
    assert.match(archived.error.message, /archived/);
    assert.deepEqual(titles(await api.dataSources.query({ data_source_id: place.source })), []);
    await api.pages.update({ page_id: made.id, in_trash: false });
    assert.deepEqual(titles(await api.dataSources.query({ data_source_id: place.source })), ['evt_1']);
  },

  async queries() {
    await api.dataSources.update({ data_source_id: place.source, properties: { Day: { date: {} }, Done: { checkbox: {} }, Kind: { select: {} } } });
    for (const n of [1, 2, 3]) {
      const properties = { ...titled(`evt_${n}`), Amount: { number: n * 10 }, Day: { date: { start: `2026-11-0${n}` } }, Done: { checkbox: n > 1 }, Kind: { select: { name: n > 2 ? 'Refunded' : 'Paid' } } };
      await api.pages.create({ parent, properties });
    }
    const sorts = [{ property: 'Amount', direction: 'ascending' }];
    const by = async (filter) => titles(await api.dataSources.query({ data_source_id: place.source, filter, sorts }));
    for (const [filter, wanted] of [
      [{ property: 'EventId', title: { equals: 'evt_2' } }, [2]],
      [{ property: 'EventId', title: { ends_with: '3' } }, [3]],
      [{ property: 'EventId', title: { does_not_contain: '3' } }, [1, 2]],
      [{ property: 'Amount', number: { greater_than: 10 } }, [2, 3]],
      [{ property: 'Amount', number: { less_than_or_equal_to: 20 } }, [1, 2]],
      [{ property: 'Customer', rich_text: { is_empty: true } }, [1, 2, 3]],
      [{ property: 'Kind', select: { equals: 'Paid' } }, [1, 2]],
      [{ property: 'Done', checkbox: { equals: true } }, [2, 3]],
      [{ property: 'Day', date: { on_or_after: '2026-11-02' } }, [2, 3]],
      [{ property: 'Day', date: { before: '2026-11-01' } }, []],
      [{ and: [{ property: 'Done', checkbox: { equals: true } }, { property: 'Kind', select: { does_not_equal: 'Paid' } }] }, [3]],
      [{ or: [{ property: 'Amount', number: { equals: 10 } }, { and: [{ property: 'Amount', number: { equals: 30 } }, { property: 'Done', checkbox: { equals: true } }] }] }, [1, 3]],
      [{ timestamp: 'created_time', created_time: { on_or_after: '2020-01-01' } }, [1, 2, 3]],
    ]) {
      assert.deepEqual(await by(filter), wanted.map((n) => `evt_${n}`), JSON.stringify(filter));
    }
    const all = await notion.collectPaginatedAPI(api.dataSources.query, { data_source_id: place.source, sorts, page_size: 1 });
    assert.deepEqual(titles({ results: all }), ['evt_1', 'evt_2', 'evt_3']);
    const newest = await api.dataSources.query({ data_source_id: place.source, sorts: [{ timestamp: 'created_time', direction: 'descending' }], page_size: 2 });
    assert.deepEqual([titles(newest), newest.has_more], [['evt_3', 'evt_2'], true]);
  },

  async refusals() {
    const { APIErrorCode: Code } = notion;
    const nowhere = '00000000-0000-4000-8000-000000000000';
    for (const [call, code, status] of [
      [() => client({ auth: 'ntn_wrong' }).users.me({}), Code.Unauthorized, 401],
      [() => api.pages.retrieve({ page_id: nowhere }), Code.ObjectNotFound, 404],
      [() => api.databases.retrieve({ database_id: place.source }), Code.ObjectNotFound, 404],
      [() => api.dataSources.retrieve({ data_source_id: place.database }), Code.ObjectNotFound, 404],
      [() => api.pages.create({ parent, properties: { Nope: { number: 1 } } }), Code.ValidationError, 400],
      [() => api.pages.create({ parent, properties: { Amount: { number: 'much' } } }), Code.ValidationError, 400],
      [() => api.dataSources.query({ data_source_id: place.source, filter: { property: 'Amount', title: { equals: '1' } } }), Code.ValidationError, 400],
      [() => api.dataSources.update({ data_source_id: place.source, properties: { EventId: null } }), Code.ValidationError, 400],
      [() => api.request({ path: 'nowhere', method: 'get' }), Code.InvalidRequestURL, 400],
    ]) {
      const refused = await failure(call());
      assert.ok(notion.APIResponseError.isAPIResponseError(refused.error), `${refused.error}`);
      assert.deepEqual([refused.code, refused.status], [code, status]);
      assert.match(refused.error.request_id, /^[0-9a-f-]{36}$/);
    }
  },

  async faults() {
    const create = (options) => client(options).pages.create({ parent, properties: titled('evt_1') });
    for (const [fault, code, status] of [
      [{ kind: 'conflict' }, 'conflict_error', 409],
      [{ kind: 'restricted' }, 'restricted_resource', 403],
      [{ kind: 'unshared' }, 'object_not_found', 404],
      [{ kind: 'error', status: 500 }, 'internal_server_error', 500],
      [{ kind: 'error', status: 503 }, 'service_unavailable', 503],
      [{ kind: 'error', status: 504 }, 'gateway_timeout', 504],
      [{ kind: 'overloaded', retry_after: 1 }, 'service_overload', 529],
      [{ kind: 'rate_limited', retry_after: 1 }, 'rate_limited', 429],
    ]) {
      await misbehave(fault);
      const failed = await failure(create());
      assert.deepEqual([failed.kind, failed.code, failed.status], ['APIResponseError', code, status]);
    }
    await misbehave({ kind: 'html' });
    assert.equal((await failure(create())).kind, 'UnknownHTTPResponseError');
    await misbehave({ kind: 'drop' });
    assert.equal((await failure(create())).kind, 'TypeError');
    await misbehave({ kind: 'slow', delay_ms: 20000 });
    assert.equal((await failure(create({ timeoutMs: 50 }))).kind, 'RequestTimeoutError');
    await misbehave({ kind: 'committed' });
    const committed = await failure(create());
    const saved = await api.pages.retrieve({ page_id: committed.error.additional_data.committed_resource_id });
    assert.equal(saved.properties.EventId.title[0].plain_text, 'evt_1');

    // The client's own retries: a rate-limited call whatever its method, other errors only for reads.
    const retry = { maxRetries: 1, initialRetryDelayMs: 1, maxRetryDelayMs: 1 };
    await misbehave({ kind: 'rate_limited', retry_after: 1 });
    assert.ok(notion.isFullPage(await create({ retry })));
    await misbehave({ kind: 'error', status: 503 });
    assert.equal((await client({ retry }).users.me({})).object, 'user');
    await misbehave({ kind: 'error', status: 503 });
    assert.equal((await failure(create({ retry }))).status, 503);
  },
};

stories[story]().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  }
);
