// Run in a page of MiniWoB++ to start its task, and again for each observation. Returns [what the page asks for, its
// HTML, whether the task has ended, the reward without a discount for time], or null when this is another page.
// Elements are numbered in the order in which they are first shown; a number stays for the episode.
const path = arguments[0], start = arguments[1];

if (location.protocol + "//" + location.pathname !== path) return null;  // a link has left the page

if (start !== null) {
  window.setInterval = () => 0;  // the clock of the episode and a cursor that blinks
  Date.prototype.toDateString = () => "Fri Jan 01 2021";  // of the terminal's last login
  if (window.jQuery) {
    jQuery.fx.off = true;
    if (jQuery.ui && jQuery.ui.menu) jQuery.ui.menu.prototype.delay = 0;
  }
  core.EPISODE_MAX_TIME = 2 ** 31 - 1;  // ms; how long an agent thinks is no part of the task
  core.setDataMode("train");
  window.refs = {next: 1, of: new WeakMap(), at: new Map()};
  Math.seedrandom(start);
  core.startEpisodeReal();
  // What is typed into a page may become markup. No script in it runs, and it loads nothing.
  const policy = document.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = ["script-src", "frame-src", "object-src", "connect-src", "form-action", "base-uri"]
    .map(one => one + " 'none'").join("; ");
  document.head.appendChild(policy);
}

const escaped = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const quoted = text => '"' + escaped(text).replace(/"/g, "&quot;") + '"';
const LEFT_OUT = new Set(["query", "reward-display", "click-canvas", "sync-task-cover"]);
const NO_ATTRIBUTE = /^(role|tabindex|aria-.*|data-wob_.*|data-tampered|value|checked|selected|autocomplete)$/;
const LOOKS = /^ui-(widget|corner|state|helper|front|draggable|resizable)/;

function attributes(element) {
  let text = "";
  for (const {name, value} of element.attributes) {
    if (NO_ATTRIBUTE.test(name) || (name === "style" && /^cursor:\s*pointer;?$/.test(value))) continue;
    const kept = name === "class" ? value.split(/\s+/).filter(one => !LOOKS.test(one)).join(" ") : value;
    if (kept || name !== "class" && name !== "id" && name !== "style") text += ` ${name}=${quoted(kept)}`;
  }
  if (element instanceof HTMLInputElement && /^(checkbox|radio)$/.test(element.type)) {
    if (element.checked) text += " checked";
  } else if (element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement) {
    text += ` value=${quoted(element.value)}`;
  } else if (element instanceof HTMLOptionElement && element.selected) {
    text += " selected";
  }
  if (element === document.activeElement && element !== document.body) text += " focused";
  return text;
}

function html(element, shown) {
  if (LEFT_OUT.has(element.id) || /^(SCRIPT|STYLE)$/i.test(element.tagName)) return "";
  if (!refs.of.has(element)) {
    refs.of.set(element, refs.next);
    refs.at.set(refs.next++, element);
  }
  const tag = element.tagName.toLowerCase();
  if (tag === "br") return "\n";
  const visible = element.checkVisibility();
  const hidden = shown && !visible ? " hidden" : "";
  const open = `<${tag} ref=${refs.of.get(element)}${attributes(element)}${hidden}>`;
  if (tag === "input") return open;
  let inner = "";
  for (const child of element.childNodes) {
    if (child instanceof Element && tag !== "textarea") inner += html(child, shown && visible);
    else if (child instanceof Text && tag !== "textarea") inner += escaped(child.data.replace(/\s+/g, " "));
  }
  return `${open}${inner.trim()}</${tag}>` + (/^(div|p|li|ul|option|h\d)$/.test(tag) ? "\n" : "");
}

function observed() {
  if (WOB_DONE_GLOBAL) return ["", "", true, WOB_RAW_REWARD_GLOBAL];
  let text = "";
  for (const child of document.body.children) {
    text += child.id === "wrap" ? [...child.children].map(one => html(one, true)).join("") : html(child, true);
  }
  return [core.getUtterance().utterance || core.getUtterance(), text.replace(/\s*\n\s*/g, "\n").trim(), false, 0];
}

// Handlers that a page has put off by a moment run first.
return new Promise(done => setTimeout(() => done(observed()), 20));
