const SVG = "http://www.w3.org/2000/svg";
const CELL = 20;

function shape(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  return node;
}

// Weights are stored as round(255 sqrt(w)), one byte each, so that small ones keep their digits.
function unpack(text) {
  const raw = atob(text);
  return (i) => (raw.charCodeAt(i) / 255) ** 2;
}

explorers("attention", (find, data) => {
  const pick = { sentence: find("sentence"), layer: find("layer"), head: find("head") };
  const [skip, tokens, said, map] = ["skip", "tokens", "said", "map"].map(find);
  const weights = data.sentences.map((s) => unpack(s.weights));
  let query = data.query;

  function matrix() {
    const s = Number(pick.sentence.value);
    const n = data.sentences[s].tokens.length;
    const size = data.causal ? (n * (n + 1)) / 2 : n * n;
    const offset = (Number(pick.layer.value) * data.heads + Number(pick.head.value)) * size;
    const rows = [];
    for (let q = 0, at = offset; q < n; q++) {
      const row = [];
      for (let k = 0; k < (data.causal ? q + 1 : n); k++) row.push(weights[s](at++));
      rows.push(skip.checked ? without_first(row) : row);
    }
    return rows;
  }

  function without_first(row) {
    const rest = row.reduce((a, b) => a + b, 0) - row[0];
    return row.map((w, k) => (k === 0 || rest < 1e-6 ? 0 : w / rest));
  }

  function name(n, i) {
    return n[i].trim() || "␣";
  }

  function choose(q, focus) {
    query = q;
    draw();
    if (focus) tokens.children[q].focus();
  }

  function build() {
    const words = data.sentences[Number(pick.sentence.value)].tokens;
    query = Math.min(query, words.length - 1);
    tokens.replaceChildren(...words.map((_, i) => {
      const button = element("button", { type: "button" }, name(words, i), element("small"));
      button.addEventListener("click", () => choose(i));
      button.addEventListener("focus", () => query !== i && choose(i));
      button.addEventListener("pointerenter", (e) => e.pointerType === "mouse" && choose(i));
      return button;
    }));
    draw();
  }

  function draw() {
    const words = data.sentences[Number(pick.sentence.value)].tokens;
    const rows = matrix();
    const row = rows[query];
    words.forEach((_, k) => {
      const button = tokens.children[k];
      const seen = k < row.length;
      button.style.setProperty("--weight", seen ? Math.min(row[k], 1) : 0);
      button.querySelector("small").textContent = seen ? row[k].toFixed(2) : "–";
      button.setAttribute("aria-pressed", k === query);
      button.tabIndex = k === query ? 0 : -1;
    });
    const top = row.map((w, k) => [w, k]).sort((a, b) => b[0] - a[0]).slice(0, 3).filter((t) => t[0] >= 0.005);
    said.textContent = "“" + name(words, query) + "” (token " + (query + 1) + ") looks at " +
      (top.map(([w, k]) => "“" + name(words, k) + "” " + w.toFixed(2)).join(", ") || "nothing but the first token") + ".";
    picture(words, rows);
  }

  function picture(words, rows) {
    const n = words.length;
    const labels = words.map((_, i) => name(words, i).slice(0, 12));
    const margin = 14 + 6.8 * Math.max(...labels.map((l) => l.length));
    const side = margin + n * CELL + 4;
    const svg = shape("svg", { width: side, height: side, viewBox: "0 0 " + side + " " + side, role: "img" });
    svg.setAttribute("aria-label", "Map of weights: one row for each token that looks, one column for each token looked at.");
    rows.forEach((row, q) => {
      const y = margin + q * CELL;
      const bold = q === query ? "chosen" : "";
      svg.append(shape("text", { x: margin - 6, y: y + 14, "text-anchor": "end", class: bold }, labels[q]));
      svg.append(shape("text", { transform: "translate(" + (y + 14) + " " + (margin - 6) + ") rotate(-90)" }, labels[q]));
      row.forEach((w, k) => {
        const box = { x: margin + k * CELL, y: y, width: CELL, height: CELL };
        const cell = shape("rect", { ...box, class: "cell", "fill-opacity": Math.min(w, 1).toFixed(3) });
        cell.append(shape("title", {}, labels[q] + " → " + labels[k] + ": " + w.toFixed(3)));
        cell.addEventListener("click", () => choose(q));
        svg.append(cell, shape("rect", { ...box, class: "frame" }));
      });
    });
    const width = (data.causal ? query + 1 : n) * CELL;
    svg.append(shape("rect", { x: margin, y: margin + query * CELL, width: width, height: CELL, class: "row" }));
    map.replaceChildren(svg);
  }

  tokens.addEventListener("keydown", (event) => {
    const last = tokens.children.length - 1;
    const to = { ArrowLeft: query - 1, ArrowRight: query + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(Math.max(0, Math.min(last, to)), true);
  });
  pick.sentence.addEventListener("change", build);
  for (const control of [pick.layer, pick.head, skip]) control.addEventListener("change", draw);
  build();
});
