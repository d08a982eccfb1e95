// Takes the page's middle whenever the host sends it anew, and changes what differs: what is
// focused, typed, open or scrolled stays. Without this script every page works as it stands.
"use strict";

const main = document.querySelector("main[data-live]");
const pulse = document.getElementById("pulse");

const isHeld = (node) =>
  node === document.activeElement && /^(INPUT|TEXTAREA|SELECT)$/.test(node.nodeName);

const isSame = (one, other) =>
  one.nodeType === other.nodeType && one.nodeName === other.nodeName &&
  (one.id || "") === (other.id || "");

function change(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (isHeld(from) || from.hasAttribute("data-keep")) return;
  for (const { name } of [...from.attributes]) {
    const isOpened = from.nodeName === "DETAILS" && name === "open";
    if (!to.hasAttribute(name) && !isOpened) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  changeChildren(from, to);
}

function changeChildren(from, to) {
  const wanted = [...to.childNodes];
  let here = from.firstChild;
  for (const next of wanted) {
    // A node with an id is found wherever it stands now.
    if (next.id && !(here && isSame(here, next))) {
      const known = [...from.children].find((child) => isSame(child, next));
      if (known) {
        from.insertBefore(known, here);
        here = known;
      }
    }
    if (here && isSame(here, next)) {
      change(here, next);
      here = here.nextSibling;
    } else {
      from.insertBefore(document.importNode(next, true), here);
    }
  }
  while (here) {
    const gone = here;
    here = here.nextSibling;
    gone.remove();
  }
}

if (main && window.EventSource) {
  const say = (text, isWell) => {
    if (!pulse) return;
    pulse.textContent = text;
    pulse.classList.toggle("away", !isWell);
  };
  let source;
  const listen = () => {
    source = new EventSource(location.href);
    source.onopen = () => say("Live", true);
    source.onerror = () => say("Not connected; trying again", false);
    source.onmessage = (message) => {
      const text = JSON.parse(message.data);
      const middle = new DOMParser().parseFromString(`<main>${text}</main>`, "text/html");
      changeChildren(main, middle.querySelector("main"));
    };
  };
  listen();
  // A page that nobody sees asks for nothing.
  document.addEventListener("visibilitychange", () => {
    source.close();
    if (!document.hidden) listen();
  });
  window.addEventListener("pagehide", () => source.close());
}

// A form that throws something away asks once more.
document.addEventListener("submit", (event) => {
  const question = event.target.getAttribute("data-ask");
  if (question && !window.confirm(question)) event.preventDefault();
});
