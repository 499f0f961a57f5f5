// What a user sees and can use on a page: the visible text, and controls by their label.
const words = (text) => (text ?? '').replace(/\s+/g, ' ').trim();
const shows = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0;
const nameOf = (element) => words(element.getAttribute('aria-label') ?? element.innerText);

// By its full name, otherwise by a part of it.
function control(name) {
  const all = [...document.querySelectorAll('a[href], button, summary')].filter(shows);
  return all.find((one) => nameOf(one) === name) ?? all.find((one) => nameOf(one).includes(name));
}

function field(label) {
  const labels = [...document.querySelectorAll('label')].filter((one) => one.control && shows(one.control));
  const named = (text) => labels.find((one) => words(one.querySelector('span')?.innerText ?? one.innerText) === text);
  return named(label)?.control ?? [...document.querySelectorAll(`[aria-label="${CSS.escape(label)}"]`)].find(shows);
}

// Where to click; null while another element covers it. Sets `window.clicked` when the click arrives.
function place(element) {
  if (!element) return null;
  element.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
  const box = element.getClientRects()[0];
  const at = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  if (!element.contains(document.elementFromPoint(at.x, at.y))) return null;
  window.clicked = false;
  element.addEventListener('click', () => { window.clicked = true; }, { once: true, capture: true });
  return at;
}

// The elements that make the page wider than its window, or its bar wider than the page.
function beyond() {
  const root = document.documentElement;
  const bar = document.querySelector('.bar');
  if (bar.scrollWidth > bar.clientWidth) return [`the bar: ${bar.scrollWidth} in ${bar.clientWidth}`];
  const tabs = document.querySelector('.tabs');
  if (tabs && tabs.scrollWidth > tabs.clientWidth) return [`the tabs: ${tabs.scrollWidth} in ${tabs.clientWidth}`];
  if (root.scrollWidth <= root.clientWidth) return [];
  const wide = [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > root.clientWidth);
  return [`${root.scrollWidth} in ${root.clientWidth}`, ...wide.map((one) => one.outerHTML.slice(0, 120))];
}

// The lower end of the content of the page.
function lowest() {
  const parts = document.querySelector('main') ? 'main > *' : 'body > *';
  return Math.max(...[...document.querySelectorAll(parts)].map((one) => one.getBoundingClientRect().bottom));
}
