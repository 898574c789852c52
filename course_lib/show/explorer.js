// What all explorers share. Plain JavaScript, no request, works from file:// and in notebooks.

// Calls start(find, data, root) for each explorer of a kind that nobody has started yet.
function explorers(kind, start) {
  document.querySelectorAll(".course-explorer." + kind + ":not(.live):not([data-ready])").forEach((root) => {
    root.setAttribute("data-ready", "");
    // JupyterLab would take the keys for its own shortcuts, such as "b" for a new cell.
    root.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
    const held = root.querySelector("script[type='application/json']");
    start((role) => root.querySelector("[data-role='" + role + "']"), held && JSON.parse(held.textContent), root);
  });
}

// Calls draw() when a slider is moved, after the name of its new value was written beside it.
function slides(root, draw) {
  root.querySelectorAll("input[type='range']").forEach((slide) => {
    const names = JSON.parse(slide.dataset.names);
    slide.addEventListener("input", () => {
      const name = names[Number(slide.value)];
      slide.setAttribute("aria-valuetext", name);
      slide.parentElement.querySelector("b").textContent = name;
      draw();
    });
  });
}

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  node.append(...children);
  return node;
}
