// Enhances pages: times in the reader's zone, live updates, copying. Every page works without it.
'use strict';

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
// In tables; the tooltip has the year.
const brief = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' });
const hour = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const second = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayAndHour = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' });
const RELOAD_GAP_MS = 1000;
const HIDDEN_RELOAD_GAP_MS = 15000;
const AGO_EVERY_MS = 10000;
const LISTEN_AGAIN_MS = 5000;
// A stream without an event for so long is dead.
const SILENT_MS = 40000;
const RETRY_MS = 3000;

function ago(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const units = [[86400, 'd', 3600, 'h'], [3600, 'h', 60, 'min'], [60, 'min', 1, 's']];
  const unit = units.find(([length]) => seconds >= length);
  if (!unit) return `${seconds} s ago`;
  const [length, name, nextLength, nextName] = unit;
  const rest = Math.floor((seconds % length) / nextLength);
  return `${Math.floor(seconds / length)} ${name}${rest ? ` ${rest} ${nextName}` : ''} ago`;
}

function localise(root) {
  for (const time of root.querySelectorAll('time[datetime]')) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const utc = `${time.dateTime.replace('T', ' ').replace('Z', '')} UTC`;
    if ('ago' in time.dataset) {
      time.title = `${clock.format(at)} (${utc})`;
    } else if ('second' in time.dataset) {
      time.textContent = second.format(at);
      time.title = utc;
    } else if ('clock' in time.dataset || time.closest('.chart')) {
      const isToday = at.toDateString() === new Date().toDateString();
      time.textContent = (isToday ? hour : dayAndHour).format(at);
      time.title = utc;
    } else {
      time.textContent = (time.closest('td') ? brief : clock).format(at);
      time.title = utc;
    }
  }
}

function grow() {
  for (const time of document.querySelectorAll('time[data-ago]')) {
    time.textContent = ago(Date.now() - Date.parse(time.dateTime));
  }
}

// Replaces the parts of the page that changed, except those that the reader is using.
const shown = new Map();
function remember(root) {
  for (const part of root.querySelectorAll('[data-part]')) shown.set(part.dataset.part, essence(part));
}

// A part without the tokens of its forms, which differ on every page although all of them are valid.
function essence(part) {
  return part.outerHTML.replace(/(name="token" value=")[^"]*/g, '$1');
}

// Returns whether a changed part was kept because the reader is clicking in it. Fails if the page cannot be
// read.
async function reload() {
  const answer = await fetch(location.href, { headers: { accept: 'text/html' }, cache: 'no-store' });
  if (answer.redirected || answer.status === 401) {
    location.reload();
    return false;
  }
  if (!answer.ok) throw new Error(answer.status);
  let isKept = false;
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
  document.title = fresh.title;
  for (const part of fresh.querySelectorAll('[data-part]')) {
    const name = part.dataset.part;
    const old = document.querySelector(`[data-part="${CSS.escape(name)}"]`);
    if (!old || shown.get(name) === essence(part) || isInUse(old)) continue;
    // A button that is replaced between press and release gets no click.
    if (old.querySelector(':active')) {
      isKept = true;
      continue;
    }
    shown.set(name, essence(part));
    const focused = old.contains(document.activeElement) ? indexOfFocus(old) : -1;
    localise(part);
    for (const unfolded of old.querySelectorAll('details[id][open]')) {
      const same = part.querySelector(`#${CSS.escape(unfolded.id)}`);
      if (same) same.open = true;
    }
    old.replaceWith(document.adoptNode(part));
    if (focused >= 0) focusables(part)[focused]?.focus({ preventScroll: true });
  }
  return isKept;
}

// A part is in use while the reader types in it, has typed in it, or selects text in it.
function isInUse(part) {
  const active = document.activeElement;
  if (part.contains(active) && active.matches('input, textarea, select')) return true;
  if ([...part.querySelectorAll('input, textarea')].some((field) => field.value !== field.defaultValue)) return true;
  const selection = getSelection();
  return !!selection && !selection.isCollapsed && part.contains(selection.anchorNode);
}

function focusables(part) {
  return [...part.querySelectorAll('a[href], button, [tabindex="0"]')];
}

function indexOfFocus(part) {
  return focusables(part).indexOf(document.activeElement);
}

function live(url) {
  const state = document.getElementById('link-state');
  const say = (text, on) => {
    state.hidden = false;
    state.textContent = text;
    state.classList.toggle('on', on);
  };
  let waiting = false;
  let last = 0;
  let later;
  let freshAt = new Date();
  let receivedAt = performance.now();
  let unreachableAt = 0;
  // The page is not up to date, and must not look as if it were.
  const stale = (state, why) => {
    say(state, false);
    document.body.classList.add('stale');
    // The title of the window is all that another tab shows.
    document.title = `${why} · EventBridge`;
    let note = document.getElementById('stale');
    if (!note) {
      note = document.createElement('section');
      note.id = 'stale';
      note.className = 'assessment bad';
      note.setAttribute('role', 'alert');
      note.append(document.createElement('h2'), document.createElement('p'));
      document.getElementById('main').prepend(note);
    }
    note.firstChild.textContent = why;
    note.lastChild.textContent = `Below is the state of ${clock.format(freshAt)}. The page continues by itself.`;
  };
  const fresh = () => {
    freshAt = new Date();
    document.getElementById('stale')?.remove();
    document.body.classList.remove('stale');
    if (stream.readyState === EventSource.OPEN) say('Live', true);
  };
  const changed = () => {
    if (waiting) return;
    waiting = true;
    const update = () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', update);
      waiting = false;
      last = performance.now();
      reload().then((isKept) => {
        // What was read before the database was gone does not show that it is back.
        if (last >= unreachableAt) fresh();
        if (isKept) changed();
      }, () => {
        if (!document.getElementById('stale')) stale('Not connected', 'The service does not answer');
        clearTimeout(later);
        later = setTimeout(changed, LISTEN_AGAIN_MS);
      });
    };
    // Of a page in the background only the title is seen.
    const gap = document.hidden ? HIDDEN_RELOAD_GAP_MS : RELOAD_GAP_MS;
    const timer = setTimeout(update, Math.max(0, gap - (performance.now() - last)));
    if (document.hidden) document.addEventListener('visibilitychange', update);
  };
  let stream;
  let again;
  let opened = false;
  const listen = () => {
    stream = new EventSource(url);
    stream.addEventListener('open', () => {
      receivedAt = performance.now();
      if (!document.getElementById('stale')) say('Live', true);
      // Catch up on changes that happened while no stream was open.
      if (opened) changed();
      opened = true;
    });
    stream.addEventListener('changed', () => {
      receivedAt = performance.now();
      changed();
    });
    stream.addEventListener('unreachable', () => {
      receivedAt = unreachableAt = performance.now();
      stale('No database', 'The database does not answer: webhooks get 503, and nothing is delivered');
    });
    stream.addEventListener('error', () => {
      say('Not connected', false);
      // Shows whether the page is still up to date.
      changed();
      // After a lost connection the browser retries by itself. After an error response it does not: the
      // session has expired, too many streams are open, or the service is starting.
      if (stream.readyState !== EventSource.CLOSED) return;
      again = setTimeout(listen, LISTEN_AGAIN_MS);
    });
  };
  listen();
  // A connection can die without an error. The service sends an event every 15 s.
  setInterval(() => {
    if (performance.now() - receivedAt < SILENT_MS || document.getElementById('stale')) return;
    stale('Not connected', 'The service does not answer');
    changed();
  }, LISTEN_AGAIN_MS);
  addEventListener('pagehide', () => {
    clearTimeout(again);
    clearTimeout(later);
    stream.close();
  });
  addEventListener('pageshow', (event) => {
    if (!event.persisted) return;
    receivedAt = performance.now();
    listen();
  });
}

// Shows the numbers of the step under the pointer, which it reads from the rows of the chart's table.
function pointing() {
  const line = document.createElement('div');
  const bubble = document.createElement('div');
  line.className = 'pointer';
  bubble.className = 'bubble';
  bubble.setAttribute('aria-hidden', 'true');
  const away = () => { line.remove(); bubble.remove(); };
  document.addEventListener('pointermove', (event) => {
    const plot = event.target.closest?.('.plot');
    const chart = plot?.closest('[data-chart]');
    const rows = chart?.querySelectorAll('tbody tr');
    if (!rows?.length) return away();
    const box = plot.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    const place = Math.min(rows.length - 1, Math.max(0, Math.floor(share * rows.length)));
    const names = chart.querySelectorAll('thead th');
    const [when, ...cells] = rows[place].children;
    const title = document.createElement('b');
    title.textContent = when.textContent;
    bubble.replaceChildren(title, ...cells.map((cell, index) => {
      const row = document.createElement('span');
      const value = document.createElement('span');
      value.textContent = cell.textContent;
      row.append(names[index + 1].textContent, value);
      return row;
    }));
    chart.append(line, bubble);
    const around = chart.getBoundingClientRect();
    const x = box.left - around.left + ((place + 0.5) / rows.length) * box.width;
    const top = box.top - around.top;
    Object.assign(line.style, { left: `${x}px`, top: `${top}px`, height: `${box.height}px` });
    const toTheLeft = x > around.width / 2;
    bubble.style.left = `${toTheLeft ? x - bubble.offsetWidth - 10 : x + 10}px`;
    bubble.style.top = `${top}px`;
  });
  document.addEventListener('pointerleave', away);
}

// Opens a page again that was an error, as soon as it can be read. A GET never repeats a form.
function retry() {
  document.getElementById('retry').hidden = false;
  const attempt = () => {
    const again = () => setTimeout(attempt, RETRY_MS);
    fetch(location.href, { headers: { accept: 'text/html' }, cache: 'no-store' }).then((answer) => {
      if (answer.ok) location.replace(location.href);
      else if (answer.status >= 500) again();
    }, again);
  };
  setTimeout(attempt, RETRY_MS);
}

function copying() {
  for (const button of document.querySelectorAll('button[data-copy]')) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener('click', async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      const label = button.textContent;
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = label; }, 1500);
    });
  }
}

function keys() {
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches('input, textarea, select')) return;
    const field = document.getElementById('q');
    if (!field) return;
    event.preventDefault();
    field.focus();
  });
}

remember(document);
localise(document);
setInterval(grow, AGO_EVERY_MS);
const zone = document.getElementById('zone');
if (zone) zone.textContent = `Times are ${Intl.DateTimeFormat().resolvedOptions().timeZone}; point at one for UTC`;
copying();
pointing();
keys();
if ('retry' in document.body.dataset) retry();
if (document.body.dataset.live && 'EventSource' in window) live(document.body.dataset.live);
