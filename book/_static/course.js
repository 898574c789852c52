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

for (const number of document.querySelectorAll(".number")) {
  const tip = number.querySelector(".number-tip");
  const place = () => {
    tip.style.translate = "";
    const beyond = tip.getBoundingClientRect().right - document.documentElement.clientWidth + 12;
    if (beyond > 0) tip.style.translate = `${-beyond}px 0`;
  };
  number.addEventListener("mouseenter", place);
  number.addEventListener("focusin", place);
  number.addEventListener("mouseleave", () => number.classList.remove("closed"));
  number.addEventListener("focusout", () => number.classList.remove("closed"));
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelector(".number:is(:hover, :focus-within)")?.classList.add("closed");
});
