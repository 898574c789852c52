explorers("states", (find, _, root) => {
  const states = [...find("states").children];
  slides(root, () => states.forEach((state, i) => (state.hidden = i !== Number(find("state").value))));
});
