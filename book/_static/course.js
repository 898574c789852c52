// Quizzes check their answer, number badges stay inside the window. Pages are complete without this file.
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
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") open()?.classList.add("closed");
});
