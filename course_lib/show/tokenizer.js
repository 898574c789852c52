explorers("tokenizer", (find, { texts, merges, pattern }) => {
  const pieces = new RegExp(pattern, "gu");
  const key = (left, right) => left * 2 ** 24 + right;
  const order = new Map(merges.map(([left, right], i) => [key(left, right), i]));
  const tokens = Array.from({ length: 256 }, (_, byte) => [byte]);
  for (const [left, right] of merges) tokens.push([...tokens[left], ...tokens[right]]);
  const decoder = new TextDecoder();
  const [pick, own, slide] = ["text", "own", "merges"].map(find);

  // In each piece, of all pairs the one that was learnt first, again and again, among the first n merges.
  function cut(text, n) {
    const ids = [];
    for (const piece of text.match(pieces) || []) {
      let word = [...new TextEncoder().encode(piece)];
      for (;;) {
        const found = word.slice(1).map((right, i) => order.get(key(word[i], right)) ?? Infinity);
        const first = Math.min(...found);
        if (first >= n) break;
        const next = [];
        for (let i = 0; i < word.length; i++) {
          const hit = word[i] === merges[first][0] && word[i + 1] === merges[first][1];
          next.push(hit ? 256 + first : word[i]);
          if (hit) i++;
        }
        word = next;
      }
      for (const id of word) ids.push(id);
    }
    return ids;
  }

  function visible(id) {
    const text = decoder.decode(Uint8Array.from(tokens[id]));
    return text.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");
  }

  function chip(id, n) {
    const bytes = tokens[id].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const parts = [element("b", {}, visible(id)), element("span", {}, String(id)), element("small", {}, bytes)];
    return element("li", n && id === 255 + n ? { class: "new" } : {}, ...parts);
  }

  function draw() {
    const n = Number(slide.value);
    slide.parentElement.querySelector("b").textContent = n;
    const ids = cut(own.value, n);
    const size = new TextEncoder().encode(own.value).length;
    let said = [...own.value].length + " characters, " + size + " bytes, " + ids.length + " tokens: " +
      (size / Math.max(ids.length, 1)).toFixed(2) + " bytes a token. ";
    if (n) {
      const [left, right] = merges[n - 1].map(visible);
      said += "Merge " + n + ": “" + left + "” + “" + right + "” became token " + (255 + n) + ", “" + visible(255 + n) + "”.";
    } else {
      said += "Nothing is merged yet: each byte is a token.";
    }
    find("said").textContent = said;
    find("tokens").replaceChildren(...ids.map((id) => chip(id, n)));
  }

  function step(by) {
    slide.value = Number(slide.value) + by;
    draw();
  }

  pick.addEventListener("change", () => {
    own.value = texts[Number(pick.value)];
    draw();
  });
  for (const control of [own, slide]) control.addEventListener("input", draw);
  find("less").addEventListener("click", () => step(-1));
  find("more").addEventListener("click", () => step(1));
  draw();
});
