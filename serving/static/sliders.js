// Sliders that move a face's expressions: a few that people know by name, and below them every one of its own.

const KNOWN = [
  ["Smile", ["mouthSmileLeft", "mouthSmileRight"]], ["Open the mouth", ["jawOpen"]], ["Blink", ["eyeBlinkLeft", "eyeBlinkRight"]],
  ["Raise the brows", ["browInnerUp", "browOuterUpLeft", "browOuterUpRight"]], ["Knit the brows", ["browDownLeft", "browDownRight"]],
  ["Pucker", ["mouthPucker"]], ["Pout", ["mouthFrownLeft", "mouthFrownRight", "mouthShrugLower"]], ["Wrinkle the nose", ["noseSneerLeft", "noseSneerRight"]],
];

// known, all : elements that take the sliders. morphs : { names, weights }. change(weights) : called when one has moved.
// Returns a function that puts all back.
export function expressionSliders(known, all, { names, weights }, change) {
  const first = [...weights], now = [...weights];
  const sliders = [];
  const add = (parent, label, of) => {
    const slider = sliderOf(label, (value) => {
      for (const e of of) now[e] = value;
      change(now);
      sliders.forEach((each) => each.show());
    });
    sliders.push({ show: () => slider.show(of.reduce((sum, e) => sum + now[e], 0) / of.length) });
    parent.append(slider.element);
  };
  known.replaceChildren();
  all.replaceChildren();
  for (const [label, parts] of KNOWN) {
    const of = parts.map((name) => names.indexOf(name)).filter((e) => e >= 0);
    if (of.length) add(known, label, of);
  }
  names.forEach((name, e) => add(all, name, [e]));
  const show = () => sliders.forEach((each) => each.show());
  show();
  return () => {
    now.splice(0, now.length, ...first);
    change(now);
    show();
  };
}

function sliderOf(label, moved) {
  const element = document.createElement("label"), input = document.createElement("input"), output = document.createElement("output");
  Object.assign(input, { type: "range", min: 0, max: 100, step: 1 });
  element.className = "slider";
  element.append(Object.assign(document.createElement("span"), { textContent: label }), input, output);
  input.addEventListener("input", () => moved(input.valueAsNumber / 100));
  const show = (value) => {
    const shown = Math.round(100 * value);
    if (input.valueAsNumber !== shown) input.value = shown;
    output.textContent = `${shown} %`;
    input.setAttribute("aria-valuetext", output.textContent);
  };
  return { element, show };
}
