// The lookup model of chapter 1, in plain JavaScript: the reader asks, two small models answer.
"use strict";

// Whole numbers of one byte, times a scale.
function unpack(held) {
  const bytes = Uint8Array.from(atob(held.data), (c) => c.charCodeAt(0));
  const values = Float64Array.from(new Int8Array(bytes.buffer), (whole) => whole * held.scale);
  const width = held.shape.at(-1);
  return held.shape.length === 1 ? values : Array.from({ length: held.shape[0] }, (_, i) => values.subarray(i * width, (i + 1) * width));
}

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

function softmax(scores) {
  const most = Math.max(...scores), powers = Array.from(scores, (s) => Math.exp(s - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((p) => p / sum);
}

// Runs a model on a row of tokens; the last is the letter that is asked for. A model without queries averages.
function read(model, ids) {
  const now = ids.map((id) => model["tokens.weight"][id]);
  const x = now.map((vector, i) => [...vector, ...(i ? now[i - 1] : vector.map(() => 0))]); // each with the one before it
  let scores = ids.map(() => 0);
  if (model["query.weight"]) {
    const query = model["query.weight"].map((line) => dot(line, x.at(-1)));
    scores = x.map((vector) => dot(query, model["key.weight"].map((line) => dot(line, vector))) / Math.sqrt(query.length));
  }
  const weights = softmax(scores);
  const values = x.map((vector) => model["value.weight"].map((line, i) => dot(line, vector) + model["value.bias"][i]));
  const mixed = values[0].map((_, i) => values.reduce((sum, value, j) => sum + weights[j] * value[i], 0));
  const logits = model["answer.weight"].map((line, i) => dot(line, mixed) + model["answer.bias"][i]);
  return { logits, weights };
}

function lookup(figure) {
  const { world, models: held } = JSON.parse(figure.querySelector("script").textContent);
  const models = Object.entries(held).map(([name, tensors]) => {
    const model = Object.fromEntries(Object.entries(tensors).map(([key, tensor]) => [key, unpack(tensor)]));
    return { model, right: 0, box: figure.querySelector(`.${name}`), says: name === "attention" ? "attention" : "the average" };
  });
  const asks = [...figure.querySelectorAll("button.lookup-cell")];
  const letters = "abcdefghijklmnop";
  const shown = [...figure.querySelectorAll(".attention .lookup-cell")].map((cell) => cell.textContent);
  let row = shown.map((text, i) => (i % 2 ? Number(text) + world.keys : letters.indexOf(text)));
  let asked = 0;

  function ask(pair) {
    asked += 1;
    const ids = [...row, row[2 * pair]], number = row[2 * pair + 1] - world.keys;
    figure.querySelector(".lookup-asked").textContent = letters[row[2 * pair]];
    asks.forEach((button, i) => button.setAttribute("aria-pressed", String(i === pair)));
    for (const one of models) {
      const { logits, weights } = read(one.model, ids);
      const chances = softmax(logits), answer = chances.indexOf(Math.max(...chances)), right = answer === number;
      one.right += right;
      draw(one.box, weights);
      const line = one.box.querySelector(".lookup-answer");
      line.classList.toggle("right", right);
      line.classList.toggle("wrong", !right);
      line.querySelector(".lookup-says").innerHTML = `says <b>${answer}</b>, ${Math.round(100 * chances[answer])}% sure`;
      line.querySelector(".lookup-verdict").textContent = right ? "right" : "wrong";
    }
    const score = models.map((one) => `${one.says} ${one.right}`).join(", ");
    figure.querySelector(".lookup-score").textContent = `Right so far, of ${asked}: ${score}.`;
  }

  function draw(box, weights) {
    box.querySelectorAll(".lookup-cell").forEach((cell, i) => {
      cell.textContent = i % 2 ? row[i] - world.keys : letters[row[i]];
      if (weights) cell.style.setProperty("--weight", weights[i].toFixed(3));
    });
  }

  const drawn = (n) => Array.from({ length: n }, (_, i) => [Math.random(), i]).sort(([a], [b]) => a - b).map(([, i]) => i);
  figure.querySelector(".lookup-new").addEventListener("click", () => {
    const keys = drawn(world.keys), values = drawn(world.values);
    row = Array.from({ length: 2 * world.pairs }, (_, i) => (i % 2 ? world.keys + values[(i - 1) / 2] : keys[i / 2]));
    ask(Math.floor(Math.random() * world.pairs));
  });
  asks.forEach((button, pair) => {
    button.disabled = false;
    button.addEventListener("click", () => ask(pair));
  });
  figure.classList.add("live");
  figure.querySelector(".lookup-controls").hidden = false;
}

document.querySelectorAll("figure.lookup").forEach(lookup);
