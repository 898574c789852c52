explorers("router", (find, data) => {
  const [text, layer, expert, tokens, said] = ["text", "layer", "expert", "tokens", "said"].map(find);
  const here = () => data.texts[Number(text.value)];
  const rows = () => here().layers[Number(layer.value)];
  const name = (i) => "“" + (here().tokens[i].trim() || "␣") + "”";

  function build() {
    tokens.replaceChildren(...here().tokens.map((word, i) => {
      const button = element("button", { type: "button" }, word.trim() || "␣", element("small"));
      button.addEventListener("click", () => {
        expert.value = rows()[i][0][0];
        draw();
        said.textContent = name(i) + " goes to " + rows()[i][0].map((e, k) =>
          "expert " + (e + 1) + " (weight " + rows()[i][1][k].toFixed(2) + ")").join(" and ") + ". " + said.textContent;
      });
      return button;
    }));
    draw();
  }

  function draw() {
    const chosen = Number(expert.value);
    const taken = [];
    rows().forEach(([experts, weights], i) => {
      const place = experts.indexOf(chosen);
      const button = tokens.children[i];
      button.style.setProperty("--weight", place < 0 ? 0 : weights[place]);
      button.querySelector("small").textContent = experts.map((e) => e + 1).join("+");
      button.setAttribute("aria-pressed", place === 0);
      if (place >= 0) taken.push(name(i));
    });
    const count = taken.length + " of " + rows().length + " tokens";
    said.textContent = "Expert " + (chosen + 1) + " takes " + count + (taken.length ? ": " + taken.join(", ") : "") + ".";
  }

  text.addEventListener("change", build);
  for (const control of [layer, expert]) control.addEventListener("change", draw);
  build();
});
