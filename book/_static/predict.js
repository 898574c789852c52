// Predictions: the reader guesses, then sees. Pages are complete without this file.
"use strict";

(() => {
  // Guesses are kept as nav.js keeps what was done. Who wanted to see without one has the guess null; who was not here
  // yet has none.
  const kept = {
    get(key) {
      try { return JSON.parse(course.get(`predict:${key}`) ?? undefined); } catch {}
    },
    set: (key, guess) => course.set(`predict:${key}`, JSON.stringify(guess)),
    remove: (key) => course.remove(`predict:${key}`),
  };

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElementNS(tag === "path" ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const minus = (text) => text.replace("-", "\u2212");
  const written = (value, { share, unit }) =>
    share ? `${Math.round(100 * value)}%` : minus(`${Number(value.toPrecision(2))} ${unit ?? ""}`.trim());
  const place = (value, { low, high, log }) => {
    const scale = log ? Math.log : (x) => x;
    return (scale(value) - scale(low)) / (scale(high) - scale(low));
  };
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  // How far off a guess is: `off` from 0 (right) to 1, and a sentence.
  const scores = {
    choice: (guess, truth) =>
      guess === truth.right ? { off: 0, said: "You guessed right." } : { off: 1, said: "It came out otherwise." },
    bar(guess, truth) {
      const off = Math.abs(guess - truth.value) / (truth.high - truth.low);
      const yours = written(guess, truth), text = truth.text + (truth.unit ? ` ${truth.unit}` : "");
      // The difference of the two numbers as they are written, so that the reader's sum comes out.
      const [a, b] = [yours, text].map((number) => number.replace("\u2212", "-").replace(/,/g, "").match(/-?[\d.]+/)[0]);
      const digits = Math.max(...[a, b].map((number) => (number.split(".")[1] ?? "").length));
      const size = `${Math.abs(a - b).toFixed(digits)} ${truth.share ? "points" : truth.unit ?? ""}`.trim();
      const how = off < 0.005 || Number(a) === Number(b) ? "just that" : `${size} ${guess > truth.value ? "less" : "more"}`;
      return { off, said: `You guessed ${yours}. It came out as ${text}: ${how}.` };
    },
    curve(guess, truth) {
      const off = mean(guess.map((value, i) => Math.abs(place(value, truth) - place(truth.y[i], truth))));
      const gap = mean(guess.map((value, i) => Math.abs(value - truth.y[i])));
      return { off, said: `On average your curve is ${Number(gap.toPrecision(2))} off, ${Math.round(100 * off)}% of the height of the plot.` };
    },
    order(guess, truth) {
      const rank = guess.map((item) => truth.values[truth.items.indexOf(item)]);
      const down = truth.values[0] > truth.values[truth.values.length - 1];
      let pairs = 0, right = 0;
      for (let i = 0; i < rank.length; i++)
        for (let j = i + 1; j < rank.length; j++, pairs++) right += down ? rank[i] >= rank[j] : rank[i] <= rank[j];
      return { off: 1 - right / pairs, said: `You have ${right} of ${pairs} pairs in the right order.` };
    },
  };
  // A guess from an earlier version of the page may no longer fit its question.
  const fits = (guess, truth) => guess != null && ({
    choice: () => Number.isInteger(guess) && guess < truth.of,
    bar: () => Number.isFinite(guess),
    curve: () => Array.isArray(guess) && guess.length === truth.y.length && guess.every(Number.isFinite),
    order: () => Array.isArray(guess) && [...guess].sort().join() === [...truth.items].sort().join(),
  })[truth.kind]();

  // The ways to answer. Each returns { read, show, focus }: the guess or null, and how to draw one over the measurement.
  const ways = {
    choice(box) {
      const radios = [...box.querySelectorAll("input")];
      return {
        missing: "Choose an answer first.",
        read: () => { const at = radios.findIndex((radio) => radio.checked); return at < 0 ? null : at; },
        show(guess) {
          if (guess === null) return;
          radios[guess].checked = true;
          radios[guess].nextElementSibling.after(make("strong", { class: "predict-yours" }, "your guess"));
        },
        lock: (locked) => radios.forEach((radio) => { radio.disabled = locked; }),
        clear() {
          box.querySelector(".predict-yours")?.remove();
          radios.forEach((radio) => { radio.checked = false; });
        },
        focus: () => radios[0].focus(),
      };
    },

    bar(box, truth) {
      const middle = (truth.low + truth.high) / 2;
      const range = make("input", {
        type: "range", min: truth.low, max: truth.high, step: (truth.high - truth.low) / 100, value: middle,
        "aria-label": `Your guess, from ${truth.ends[0]} to ${`${truth.ends[1]} ${truth.unit}`.trim()}`,
      });
      const bar = make("span", { class: "bars-bar" }), value = make("output", { class: "bars-value" });
      const row = make("div", { class: "bars-row", "data-kind": "guess" },
        make("span", { class: "bars-name" }, "your guess"), make("span", { class: "bars-track" }, bar, range), value);
      // For the eye only: the name of the slider says the same.
      const ends = make("div", { class: "bars-row predict-ends", "aria-hidden": "true" },
        make("span", { class: "bars-ends" }, ...[truth.ends[0], truth.unit, truth.ends[1]].map((text) => make("span", {}, text))));
      box.querySelector(".bars").prepend(row, ends);
      let touched = false;
      const zero = Math.max(0, Math.min(1, place(0, truth)));
      const draw = () => {
        const at = place(Number(range.value), truth);
        bar.style.left = `${100 * Math.min(zero, at)}%`;
        bar.style.width = `${100 * Math.abs(at - zero)}%`;
        value.textContent = touched ? written(Number(range.value), truth) : "drag me";
        range.setAttribute("aria-valuetext", written(Number(range.value), truth));
        row.classList.toggle("untouched", !touched);
        for (const track of box.querySelectorAll(".bars-track")) track.style.setProperty("--guess", touched ? `${100 * at}%` : "-999rem");
      };
      const touch = () => { touched = true; draw(); };
      for (const event of ["input", "pointerdown"]) range.addEventListener(event, touch);
      draw();
      return {
        missing: "Drag the bar first, or move it with the arrow keys.",
        read: () => (touched ? Number(range.value) : null),
        show(guess) { if (guess !== null) { range.value = guess; touch(); } else row.hidden = true; },
        lock(locked) { range.disabled = locked; if (!locked) row.hidden = false; },
        clear() { range.value = middle; touched = false; draw(); },
        focus: () => range.focus(),
      };
    },

    curve(box, truth) {
      // Drawn with the pointer, or from the keyboard: a slider for each point, which only a screen reader sees.
      const plot = box.querySelector(".curves-plot"), svg = plot.querySelector("svg");
      const line = make("path", { class: "guess line" }), dots = make("path", { class: "guess dots" });
      const active = make("path", { class: "guess active" });
      svg.append(line, dots, active);
      const name = make("span", { class: "curves-guess", hidden: "" }, "your guess");
      plot.append(name);
      const steps = 100;
      const sliders = truth.at.map((_, i) => make("input", {
        type: "range", min: 0, max: steps, value: steps / 2, class: "heard-only",
        "aria-label": `Your curve at ${truth.axis} ${truth.names[i]}`,
      }));
      const set = make("div", { class: "curves-sliders", role: "group", "aria-label": "Your curve" }, ...sliders);
      plot.append(set);
      const touched = truth.at.map(() => false);
      const value = (share) => truth.log
        ? truth.low * (truth.high / truth.low) ** share
        : truth.low + share * (truth.high - truth.low);
      const spot = (i) => `${1000 * truth.at[i]} ${1000 * (1 - sliders[i].value / steps)}`;
      const draw = () => {
        const drawn = truth.at.map((_, i) => i).filter((i) => touched[i]);
        line.setAttribute("d", drawn.length ? `M${drawn.map(spot).join("L")}` : "");
        dots.setAttribute("d", drawn.map((i) => `M${spot(i)}h0`).join(""));
        const focused = sliders.indexOf(document.activeElement);
        active.setAttribute("d", focused < 0 || sliders[focused].disabled ? "" : `M${spot(focused)}h0`);
        sliders.forEach((slider) => slider.setAttribute("aria-valuetext", Number(value(slider.value / steps).toPrecision(2))));
      };
      sliders.forEach((slider, i) => {
        slider.addEventListener("input", () => { touched[i] = true; draw(); });
        for (const event of ["focus", "blur"]) slider.addEventListener(event, draw);
      });
      let last = null;
      const pointer = (event) => {
        if (sliders[0].disabled || (event.type === "pointermove" && last === null)) return;
        const frame = svg.getBoundingClientRect();
        const x = (event.clientX - frame.left) / frame.width, y = 1 - (event.clientY - frame.top) / frame.height;
        const nearest = truth.at.reduce((best, at, i) => (Math.abs(at - x) < Math.abs(truth.at[best] - x) ? i : best), 0);
        // A fast stroke jumps over points: they are set along the way.
        const from = last ?? { i: nearest, y }, [first, end] = [Math.min(from.i, nearest), Math.max(from.i, nearest)];
        for (let i = first; i <= end; i++) {
          const part = from.i === nearest ? 1 : (i - from.i) / (nearest - from.i);
          if (i === from.i && from.i !== nearest) continue;
          sliders[i].value = Math.round(steps * Math.max(0, Math.min(1, from.y + part * (y - from.y))));
          touched[i] = true;
        }
        last = { i: nearest, y };
        draw();
      };
      svg.addEventListener("pointerdown", (event) => {
        if (sliders[0].disabled) return;
        svg.setPointerCapture(event.pointerId);
        last = null;
        pointer(event);
        event.preventDefault();
      });
      svg.addEventListener("pointermove", pointer);
      for (const event of ["pointerup", "pointercancel"]) svg.addEventListener(event, () => { last = null; });
      draw();
      return {
        missing: "Draw the whole curve first, from left to right; from the keyboard, set each point with the arrow keys.",
        read: () => (touched.every(Boolean) ? sliders.map((slider) => value(slider.value / steps)) : null),
        show(guess) {
          guess?.forEach((y, i) => { sliders[i].value = Math.round(steps * place(y, truth)); touched[i] = true; });
          name.hidden = guess === null;
          name.style.bottom = `${Math.min(88, 100 * sliders[0].value / steps)}%`;
          draw();
        },
        lock: (locked) => { sliders.forEach((slider) => { slider.disabled = locked; }); draw(); },
        clear() {
          sliders.forEach((slider, i) => { slider.value = steps / 2; touched[i] = false; });
          name.hidden = true;
          draw();
        },
        focus: () => sliders[0].focus(),
      };
    },

    order(box, truth) {
      const list = box.querySelector("ol"), items = [...list.children];
      items.forEach((item, i) => { item.dataset.item = truth.items[i]; });
      const alphabetical = () => list.append(...[...items].sort((a, b) => a.dataset.item.localeCompare(b.dataset.item)));
      let touched = false;
      const said = make("span", { class: "heard-only", role: "status" });
      list.after(said);
      const move = (item, by) => {
        const other = by < 0 ? item.previousElementSibling : item.nextElementSibling;
        touched = true;
        if (!other) return;
        by < 0 ? other.before(item) : other.after(item);
        said.textContent = `${item.dataset.item} is now number ${[...list.children].indexOf(item) + 1}.`;
      };
      const buttons = [];
      for (const item of items) {
        for (const [by, sign, word] of [[-1, "\u2191", "up"], [1, "\u2193", "down"]]) {
          const button = make("button", { type: "button", class: "predict-move", "aria-label": `${item.dataset.item}: ${word}` }, sign);
          button.addEventListener("click", () => { move(item, by); button.focus(); });
          buttons.push(button);
          item.append(button);
        }
        item.addEventListener("pointerdown", (event) => {
          if (event.target.closest("button") || !box.classList.contains("live") || box.classList.contains("shown")) return;
          item.setPointerCapture(event.pointerId);
          item.classList.add("dragged");
        });
        item.addEventListener("pointermove", (event) => {
          if (!item.hasPointerCapture(event.pointerId)) return;
          const near = (sibling) => sibling && event.clientY - sibling.getBoundingClientRect().top;
          const { previousElementSibling: above, nextElementSibling: below } = item;
          if (above && near(above) < above.offsetHeight / 2) move(item, -1);
          else if (below && near(below) > below.offsetHeight / 2) move(item, 1);
        });
        for (const event of ["pointerup", "pointercancel"]) item.addEventListener(event, () => item.classList.remove("dragged"));
      }
      alphabetical();
      return {
        missing: "Move an item first: drag it, or use its arrows.",
        read: () => (touched ? [...list.children].map((item) => item.dataset.item) : null),
        show(guess) {
          list.append(...items);
          items.forEach((item, i) => {
            item.querySelector(".predict-yours")?.remove();
            if (!guess) return;
            const yours = guess.indexOf(item.dataset.item) + 1;
            item.querySelector(".predict-item").after(
              " ", make("span", { class: yours === i + 1 ? "predict-yours right" : "predict-yours" }, `your number ${yours}`));
          });
        },
        lock: (locked) => buttons.forEach((button) => { button.hidden = locked; }),
        clear() { touched = false; items.forEach((item) => item.querySelector(".predict-yours")?.remove()); alphabetical(); },
        focus: () => buttons[0].focus(),
      };
    },
  };

  // What follows a question in its section would give the answer away, so it waits too. The next question is inside: a
  // chain. Below the page's title only what comes before the first section waits.
  const whatFollows = (box) => {
    const rest = make("div", { class: "predict-rest" });
    if (!box.parentElement.matches("section, .predict-rest")) return rest;
    const ofPage = box.closest("section").querySelector(":scope > h1");
    const waits = (next) => next && !(ofPage && next.matches("section"));
    while (waits(box.nextElementSibling)) rest.append(box.nextElementSibling);
    if (rest.firstElementChild) box.after(rest);
    return rest;
  };
  // Folded, a part is still found by the browser's own search, where the browser knows how; elsewhere it is just hidden.
  const fold = (part) => part.setAttribute("hidden", "until-found");

  const reveals = [];
  for (const box of document.querySelectorAll(".predict[data-predict]")) {
    const key = box.dataset.predict, truth = JSON.parse(box.dataset.truth), form = box.querySelector("form");
    const way = ways[truth.kind](box, truth);
    const see = make("button", { type: "submit" }, "See what came out");
    const skip = make("button", { type: "button", class: "quiet" }, "Show what follows without a guess");
    const again = make("button", { type: "button", class: "quiet" }, "Guess again");
    const said = make("p", { class: "predict-said", role: "status", tabindex: "-1" });
    const buttons = make("p", { class: "predict-buttons" }, see, skip, again);
    const note = make("p", { class: "predict-note", role: "status" });
    form.firstElementChild.append(said, buttons, note);
    const after = box.querySelector(".predict-after"), rest = whatFollows(box);
    const open = () => {
      if (!rest.hidden) return;
      rest.hidden = false;
      note.classList.add("heard-only"); // who sees the page sees it
      note.textContent = "The rest of this section is now shown.";
    };

    const show = (guess) => {
      if (box.classList.contains("shown")) return;
      way.show(guess);
      way.lock(true);
      box.classList.add("shown");
      after.hidden = false;
      open();
      box.classList.toggle("right", guess !== null && scores[truth.kind](guess, truth).off < 0.05);
      said.textContent = guess === null ? "" : scores[truth.kind](guess, truth).said;
      see.hidden = skip.hidden = true;
      again.hidden = false;
    };
    const keep = (guess) => {
      kept.set(key, guess);
      show(guess);
      dispatchEvent(new Event("course:done"));
    };
    const ask = () => {
      box.classList.remove("shown", "right");
      fold(after);
      if (rest.isConnected) {
        fold(rest);
        note.classList.remove("heard-only");
        note.textContent = "The rest of this section is folded until then.";
      }
      way.lock(false);
      way.clear();
      said.textContent = "";
      see.hidden = skip.hidden = false;
      again.hidden = true;
    };
    box.classList.add("live"); // from here on the style sheet folds away what follows
    ask();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (box.classList.contains("shown")) return;
      const guess = way.read();
      if (guess === null) {
        said.textContent = way.missing;
        return;
      }
      keep(guess);
      said.focus({ preventScroll: true });
    });
    skip.addEventListener("click", () => { keep(null); again.focus(); });
    again.addEventListener("click", () => { kept.remove(key); ask(); way.focus(); });
    const guess = kept.get(key);
    if (guess === null || fits(guess, truth)) show(guess);
    // Who looks for something in what is folded away gets it: by a link, by the browser's search or by the book's. The
    // question stays open if the answer is not in view.
    const reveal = (target) => {
      if (!target.closest("[hidden='until-found']")) return;
      if (after.contains(target)) show(null);
      if (rest.contains(target)) open();
    };
    after.addEventListener("beforematch", () => show(null));
    rest.addEventListener("beforematch", open);
    const follow = () => {
      const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (!target?.closest("[hidden='until-found']")) return;
      reveal(target);
      target.scrollIntoView();
    };
    addEventListener("hashchange", follow);
    follow();
    reveals.push(reveal);
  }
  // Words that the book's search looked for. Sphinx would mark them itself, but the theme loads the search's script on
  // every page, and Sphinx then takes each for the search page.
  if (typeof SphinxHighlight !== "undefined" && !document.getElementById("search-results")) {
    SphinxHighlight.highlightSearchWords();
    const open = () => document.querySelectorAll(".bd-article .highlighted").forEach((word) => reveals.forEach((reveal) => reveal(word)));
    setTimeout(open, 10); // it marks them after as long
  }

  // "Your predictions": how well the reader guesses.
  const guessed = (guess, truth) => ({
    choice: () => truth.names[guess],
    bar: () => written(guess, truth),
    curve: () => "a curve",
    order: () => guess.join(", "),
  })[truth.kind]();
  const came = (truth) => ({
    choice: () => truth.names[truth.right],
    bar: () => truth.text + (truth.unit ? ` ${truth.unit}` : ""),
    curve: () => "see the page",
    order: () => truth.items.join(", "),
  })[truth.kind]();
  const distance = (off, { kind }) => ({
    choice: () => (off ? "wrong" : "right"),
    bar: () => `${Math.round(100 * off)} points`,
    curve: () => `${Math.round(100 * off)} points`,
    order: () => `${Math.round(100 * (1 - off))}% of pairs right`,
  })[kind]();

  function sumUp(box) {
    const rows = [...box.querySelectorAll("[data-predicted]")], columns = ["You", "Measured", "How close"];
    const made = [];
    const head = box.querySelector("thead tr");
    head.replaceChildren(head.firstElementChild, ...columns.map((name) => make("th", { scope: "col" }, name)));
    for (const row of rows) {
      const truth = JSON.parse(row.dataset.truth), guess = kept.get(row.dataset.predicted);
      row.replaceChildren(row.firstElementChild);
      if (truth === null || !fits(guess, truth)) {
        row.append(make("td", { colspan: 3, class: "predictions-none" }, "not guessed yet"));
        continue;
      }
      const { off } = scores[truth.kind](guess, truth);
      made.push({ ...truth, off });
      row.append(...[guessed(guess, truth), came(truth), distance(off, truth)].map((text, i) => make("td", { "data-label": columns[i] }, text)));
    }
    const of = (...kinds) => made.filter(({ kind }) => kinds.includes(kind));
    const [choices, bars, curves, orders] = [of("choice"), of("bar"), of("curve"), of("order")];
    const lines = [`You have made ${made.length} of ${rows.length} predictions.`];
    if (choices.length) {
      const right = choices.filter(({ off }) => off === 0).length;
      const blind = choices.reduce((sum, { of }) => sum + 1 / of, 0);
      lines.push(`Choices: ${right} of ${choices.length} right; picking at random would get ${blind.toFixed(1)} on average.`);
    }
    for (const [name, group] of [["Bars", bars], ["Curves", curves]])
      if (group.length) lines.push(`${name}: ${Math.round(100 * mean(group.map(({ off }) => off)))} points off on average, where 100 points are the whole scale.`);
    if (orders.length) lines.push(`Orders: ${Math.round(100 * (1 - mean(orders.map(({ off }) => off))))}% of the pairs right; a random order gets 50%.`);
    const summary = box.querySelector(".predictions-summary");
    summary.replaceChildren(...lines.map((text) => make("span", {}, text)));
    let forget = box.querySelector("button");
    if (!forget) {
      forget = make("button", { type: "button" }, "Forget all predictions");
      forget.addEventListener("click", () => {
        rows.forEach((row) => kept.remove(row.dataset.predicted));
        sumUp(box);
        summary.setAttribute("tabindex", "-1");
        summary.focus();
      });
      box.append(make("p", {}, "They are kept in this browser only. "), forget);
    }
    forget.hidden = !made.length;
  }
  document.querySelectorAll(".predictions").forEach(sumUp);
})();
