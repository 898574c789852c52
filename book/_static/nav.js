// What was read and answered is remembered in this browser, and nowhere else. Pages are complete without this file.
"use strict";

const course = {
  // A browser may refuse to store anything; then nothing is remembered and nothing breaks.
  get(key) {
    try {
      return localStorage.getItem(`course:${key}`);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`course:${key}`, value);
    } catch {}
  },
  remove(key) {
    try {
      localStorage.removeItem(`course:${key}`);
    } catch {}
  },
  forget() {
    try {
      Object.keys(localStorage).filter((key) => key.startsWith("course:")).forEach((key) => localStorage.removeItem(key));
    } catch {}
  },
};

const where = document.querySelector(".bd-article p.where");
const page = where?.dataset.page;
const root = new URL(document.documentElement.dataset.content_root || "./", location.href);

// A section that has moved to another page: its old address leads on.
const moved = new Map(Object.entries(JSON.parse(where?.dataset.moved ?? "{}")));
function leadOn() {
  const to = moved.get(location.hash.slice(1));
  if (to) location.replace(new URL(to, location.href));
}
leadOn();
addEventListener("hashchange", leadOn);

// The side bar: the current page in view, without moving the page itself.
const bar = document.querySelector(".bd-sidebar-primary");
function showCurrent() {
  const current = bar?.querySelector(".bd-links a.current, .bd-links li.current.active > a");
  if (!current || !bar.scrollHeight) return;
  const last = [...bar.querySelectorAll(".bd-links li.current.active a.current")].pop() ?? current;
  const box = last.getBoundingClientRect(), frame = bar.getBoundingClientRect();
  if (box.top < frame.top || box.bottom > frame.bottom) bar.scrollTop += box.top - frame.top - frame.height / 3;
}
showCurrent();

// What there is to do on this page: its quizzes, its predictions, and to read to the end.
const tasks = [
  ...[...document.querySelectorAll("form.quiz")].map((form) => `quiz:${page}:${form.id.replace(/^quiz-/, "")}`),
  ...[...document.querySelectorAll("[data-predict]")].map((guess) => `predict:${guess.dataset.predict}`),
  `read:${page}`,
];

function count() {
  if (!page) return;
  const done = tasks.filter((task) => course.get(task) !== null).length;
  if (done) course.set(`page:${page}`, `${done}/${tasks.length}`);
  drawTicks();
}

// A chapter with pages of its own is done when all of them are; else a page speaks for itself.
function drawTicks() {
  const nameOf = (link) => new URL(link.href, location.href).pathname.replace(root.pathname, "").replace(/\.html$/, "");
  const share = (name) => {
    const [done, all] = (course.get(`page:${name}`) ?? "0/1").split("/").map(Number);
    return { done, all, part: done / all };
  };
  for (const link of document.querySelectorAll(".bd-sidebar-primary .bd-links a.reference.internal")) {
    const name = nameOf(link);
    const inside = [...link.closest("li").querySelectorAll(":scope ul a.reference.internal")].map(nameOf);
    let { done, all, part } = share(name), label = `${done} of ${all} done`;
    if (inside.some((other) => !other.startsWith("labs/"))) {
      const parts = [name, ...inside].map((other) => share(other).part);
      [done, all] = [parts.filter((p) => p >= 1).length, parts.length];
      part = parts.reduce((sum, p) => sum + p, 0) / all;
      label = `${done} of ${all} pages done`;
    }
    link.querySelector(".tick")?.remove();
    if (!(part > 0)) continue;
    const tick = Object.assign(document.createElement("span"), { className: done < all ? "tick" : "tick done" });
    tick.setAttribute("role", "img");
    tick.setAttribute("aria-label", done < all ? label : "done");
    tick.style.setProperty("--share", `${100 * part}%`);
    link.append(tick);
  }
}

if (page) {
  course.set("last", JSON.stringify({ page, name: where.dataset.name }));
  for (const form of document.querySelectorAll("form.quiz")) {
    form.addEventListener("submit", () => {
      if (!form.querySelector("[data-verdict='right'] input:checked")) return;
      course.set(`quiz:${page}:${form.id.replace(/^quiz-/, "")}`, "right");
      count();
    });
  }
  const end = document.querySelector(".bd-article .steps") ?? document.querySelector(".bd-footer-content");
  if (end) {
    // Seen for a second: who jumps past the end has not read to it.
    let timer = 0;
    new IntersectionObserver(([entry]) => {
      clearTimeout(timer);
      if (!entry.isIntersecting) return;
      timer = setTimeout(() => {
        course.set(`read:${page}`, "1");
        count();
      }, 1000);
    }).observe(end);
  }
  addEventListener("course:done", count); // a prediction was made
  // The section in view when the page is left is where "Continue" leads.
  addEventListener("pagehide", () => {
    const above = [...document.querySelectorAll(".bd-article section[id]:not([hidden] *)")].filter((s) => s.getBoundingClientRect().top < 150);
    const section = above.length > 1 ? above[above.length - 1].id : "";
    if (course.get("last") !== null) course.set("last", JSON.stringify({ page, name: where.dataset.name, section }));
  });
}
count();
drawTicks();

// "Continue", where a page offers it.
for (const box of document.querySelectorAll(".continue")) {
  let last = null;
  try {
    last = JSON.parse(course.get("last"));
  } catch {}
  if (!last || !/^[\w/-]+$/.test(last.page)) continue;
  const link = box.querySelector("a");
  link.href = new URL(`${last.page}.html`, root).href + (last.section ? `#${encodeURIComponent(last.section)}` : "");
  box.querySelector(".continue-where").textContent = last.name;
  box.hidden = false;
  box.querySelector("button").addEventListener("click", () => {
    course.forget();
    box.hidden = true;
    drawTicks();
    document.querySelector(".bd-article h1")?.focus();
  });
}

// A lab's machinery is folded; "Show all code" unfolds it on every lab, until it is asked to fold again.
const folds = [...document.querySelectorAll(".bd-article div.cell details.hide.above-input")];
if (folds.length) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "show-code" });
  const show = (all) => {
    for (const fold of folds) fold.open = all;
    button.setAttribute("aria-pressed", String(all));
  };
  button.textContent = "Show all code";
  button.addEventListener("click", () => {
    const all = button.getAttribute("aria-pressed") !== "true";
    course.set("show-code", all ? "1" : "0");
    show(all);
  });
  show(course.get("show-code") === "1");
  (document.querySelector(".bd-article .launch") ?? folds[0].closest("div.cell")).append(button);
}
