// Quizzes check their answer, number badges stay inside the window, the keyboard scrolls what unfolds. Pages are complete
// without this file.
"use strict";

for (const form of document.querySelectorAll("form.quiz")) {
  const button = Object.assign(document.createElement("button"), { type: "submit", textContent: "Check" });
  const said = document.createElement("p");
  said.setAttribute("role", "status");
  form.firstElementChild.append(button, said);
  form.classList.add("live"); // from here on the style sheet folds the explanations away
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const choice = form.querySelector("input:checked")?.closest(".quiz-choice");
    if (choice) choice.classList.add("shown");
    said.classList.toggle("heard-only", Boolean(choice)); // the explanation is in view; this one is read aloud
    said.textContent = choice ? choice.querySelector(".quiz-why").textContent : "Choose an answer first.";
  });
}

const open = () => document.querySelector(".number:is(:hover, :focus-within)");
const phone = matchMedia("(max-width: 600px)"); // there the style sheet puts them at the bottom

function place() {
  const number = open();
  if (!number) return;
  const tip = number.querySelector(".number-tip");
  if (phone.matches) return tip.removeAttribute("style");
  // Fixed, because a table that scrolls would cut it off.
  const at = number.getBoundingClientRect();
  const { clientWidth, clientHeight } = document.documentElement;
  const below = at.bottom + tip.offsetHeight < clientHeight;
  tip.style.position = "fixed";
  tip.style.left = `${Math.max(12, Math.min(at.left, clientWidth - tip.offsetWidth - 12))}px`;
  tip.style.top = `${below ? at.bottom : at.top - tip.offsetHeight}px`;
}

for (const number of document.querySelectorAll(".number")) {
  for (const start of ["mouseenter", "focusin"]) number.addEventListener(start, place);
  for (const end of ["mouseleave", "focusout"]) number.addEventListener(end, () => number.classList.remove("closed"));
}
document.addEventListener("scroll", place, { capture: true, passive: true });
new ResizeObserver(place).observe(document.body); // what unfolds or loads above moves the number without a scroll
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") open()?.classList.add("closed");
});

// What is wider or higher than its place has to be reached by the keyboard, which scrolls it. The theme sees to it when the
// page loads or the window changes; what was folded away then had no size yet.
const scrolls = (e) => e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight;
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) target.tabIndex = scrolls(target) ? 0 : -1;
});
for (const part of document.querySelectorAll("pre, .cell_output > .output, .pst-scrollable-table-container")) resized.observe(part);
