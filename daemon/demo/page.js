"use strict";
// Brings what is new without a reload. Without this script the forms work all the same.

const EVERY_MS = 700;
const chat = document.getElementById("chat");
const side = document.getElementById("side");
const state = document.getElementById("state");
let tag = null;

function showChat(fresh) {
  const low = chat.scrollHeight - chat.scrollTop - chat.clientHeight < 40;
  let more = false;
  for (const item of [...fresh.children]) {
    const there = document.getElementById(item.id);
    if (there === null) {
      chat.append(item);
      more = true;
    } else if (there.outerHTML !== item.outerHTML && !there.contains(document.activeElement)) {
      there.replaceWith(item);
    }
  }
  if (more && low) chat.scrollTop = chat.scrollHeight;
}

async function look() {
  const headers = tag === null ? {} : { "If-None-Match": tag };
  const answer = await fetch("/parts", { headers, cache: "no-store" });
  if (answer.status !== 200) return;
  const told = new DOMParser().parseFromString(await answer.text(), "text/html");
  tag = answer.headers.get("ETag");
  showChat(told.getElementById("chat"));
  side.replaceChildren(...told.getElementById("side").childNodes);
}

async function goOn() {
  try {
    await look();
    state.textContent = "";
  } catch {
    state.textContent = "The demonstration does not answer: has it ended?";
  }
  setTimeout(goOn, EVERY_MS);
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const data = new FormData(form);
  if (event.submitter !== null && event.submitter.name) data.append(event.submitter.name, event.submitter.value);
  event.preventDefault();
  try {
    const answer = await fetch(form.action, { method: "POST", body: data });
    if (!answer.ok) throw new Error(await answer.text());
    if (form.classList.contains("write")) form.reset();
    chat.scrollTop = chat.scrollHeight;
    await look();
  } catch (error) {
    state.textContent = "It was not sent. " + error.message;
  }
});

chat.scrollTop = chat.scrollHeight;
goOn();
