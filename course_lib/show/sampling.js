// The shares of the next token, as course_lib.infer.generation.sampling computes them. `logits` fall, so every step keeps the first
// `n` of them.
function shares(logits, { temperature, top_k, top_p, min_p }) {
  if (temperature === 0) return logits.map((_, i) => (i === 0 ? 1 : 0));
  const weights = logits.map((logit) => Math.exp((logit - logits[0]) / temperature));
  const sum = (n) => weights.subarray(0, n).reduce((a, b) => a + b, 0);
  let n = logits.length;
  if (top_k !== null && top_k < n) {
    n = top_k;
    while (logits[n] === logits[top_k - 1]) n++; // as likely as the last of them
  }
  if (top_p !== null) {
    const enough = top_p * sum(n);
    let kept = 0;
    for (let before = 0; kept < n && before < enough; kept++) before += weights[kept];
    n = kept;
  }
  if (min_p !== null) while (weights[n - 1] < min_p) n--;
  const all = sum(n);
  return weights.map((weight, i) => (i < n ? weight / all : 0));
}

explorers("sampling", (find, data, root) => {
  const roles = Object.keys(data.settings);
  const logits = data.prompts.map((prompt) => {
    const groups = prompt.groups.map(([count, logit]) => new Array(count).fill(logit));
    return Float64Array.from(prompt.logits.concat(...groups));
  });

  function row(name, was, now) {
    const bar = element("i");
    bar.style.setProperty("--before", was);
    bar.style.setProperty("--now", now);
    const number = element("b", {}, now ? (100 * now).toFixed(1) + "%" : "out");
    return element("li", now ? {} : { class: "out" }, element("span", {}, name), bar, number);
  }

  function draw() {
    const at = Number(find("prompt").value);
    const settings = Object.fromEntries(roles.map((role) => [role, data.settings[role][Number(find(role).value)]]));
    const before = shares(logits[at], { temperature: 1, top_k: null, top_p: null, min_p: null });
    const now = shares(logits[at], settings);
    const rows = data.prompts[at].tokens.map((token, i) => row(token, before[i], now[i]));
    const others = now.length - rows.length;
    const rest = (all) => all.subarray(rows.length).reduce((a, b) => a + b, 0);
    const write = (number, digits) =>
      number.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    if (others) rows.push(row(write(others, 0) + " others", rest(before), rest(now)));
    find("bars").replaceChildren(...rows);
    const bits = now.reduce((sum, p) => (p > 0 ? sum - p * Math.log2(p) : sum), 0);
    const left = now.filter((p) => p >= 1e-6).length;
    find("said").textContent = write(left, 0) + " of " + write(now.length, 0) + " tokens have a share of one in a million " +
      "or more. Entropy: " + write(bits, 2) + " bits, as in a fair choice among " + write(2 ** bits, 1) + ".";
  }

  find("prompt").addEventListener("change", draw);
  slides(root, draw);
  draw();
});
