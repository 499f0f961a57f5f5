// What a person sees and reaches on a page: the text that shows, and controls by the words on them.
const words = (text) => (text ?? '').replace(/\s+/g, ' ').trim();
const shows = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0;
const nameOf = (element) => words(element.getAttribute('aria-label') ?? element.innerText);

// By its whole name, else by a part of it.
function control(name) {
  const all = [...document.querySelectorAll('a[href], button, summary')].filter(shows);
  return all.find((one) => nameOf(one) === name) ?? all.find((one) => nameOf(one).includes(name));
}

function field(label) {
  const labels = [...document.querySelectorAll('label')].filter((one) => one.control && shows(one.control));
  const named = (text) => labels.find((one) => words(one.querySelector('span')?.innerText ?? one.innerText) === text);
  return named(label)?.control ?? [...document.querySelectorAll(`[aria-label="${CSS.escape(label)}"]`)].find(shows);
}

// Where to click; nothing while something else lies over it. Whether the click came is told after it.
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

// What makes the page wider than its window, or its bar wider than the page.
function beyond() {
  const root = document.documentElement;
  const bar = document.querySelector('.bar');
  if (bar.scrollWidth > bar.clientWidth) return [`the bar: ${bar.scrollWidth} in ${bar.clientWidth}`];
  if (root.scrollWidth <= root.clientWidth) return [];
  const wide = [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > root.clientWidth);
  return [`${root.scrollWidth} in ${root.clientWidth}`, ...wide.map((one) => one.outerHTML.slice(0, 120))];
}

// Where what the page has to say ends.
function lowest() {
  const parts = document.querySelector('main') ? 'main > *' : 'body > *';
  return Math.max(...[...document.querySelectorAll(parts)].map((one) => one.getBoundingClientRect().bottom));
}
