// SPDX-License-Identifier: Apache-2.0
/**
 * Contrast by WCAG 2.2, measured in a page: what is below 4.5 to 1 for text, below 3 to 1 for
 * drawings, marks, and edges of controls. It is run as text in a browser, where `wcag` then
 * answers.
 */
globalThis.wcag = (() => {
  "use strict";
  const TEXT = 4.5;
  const GRAPHICS = 3;
  /** Lines that help the eye and say nothing by themselves; the numbers are beside them. */
  const decoration = ".grid, .area, [data-decoration]";

  /** Red, green, blue, alpha of a colour as browsers write it. */
  function colourOf(text) {
    const numbers = /^rgba?\(([^)]*)\)$/.exec(text)?.[1].split(",").map(Number);
    if (numbers === undefined) throw new Error(`a colour that is not known: ${text}`);
    const [red, green, blue, alpha = 1] = numbers;
    return [red, green, blue, alpha];
  }

  const mix = (above, below, share) =>
    [0, 1, 2].map((i) => share * above[i] + (1 - share) * below[i]);
  const over = (colour, below) => mix(colour, below, colour[3]);

  function luminance(colour) {
    const [red, green, blue] = colour.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  function ratioOf(one, other) {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }

  let canvas;

  /** What is behind an element and each element around it, from the outermost. */
  const layers = new Map();
  function layersOf(element) {
    if (element === null) return [];
    const known = layers.get(element);
    if (known !== undefined) return known;
    const outer = layersOf(element.parentElement);
    const { backgroundColor, opacity } = getComputedStyle(element);
    const below = outer.at(-1)?.back ?? canvas;
    const back = over(colourOf(backgroundColor), below);
    const list = [...outer, { back, below, opacity: Number(opacity) }];
    layers.set(element, list);
    return list;
  }

  /** Contrast of a colour that is painted on an element; undefined where nothing is to be seen. */
  function contrastOn(element, colour) {
    const list = layersOf(element);
    let back = list.at(-1)?.back ?? canvas;
    let front = over(colour, back);
    for (const { below, opacity } of list.toReversed()) {
      if (opacity === 0) return undefined;
      front = mix(front, below, opacity);
      back = mix(back, below, opacity);
    }
    return ratioOf(front, back);
  }

  let faults;
  let compared;
  function begin() {
    const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
    canvas = isDark ? [18, 18, 18] : [255, 255, 255];
    layers.clear();
    faults = new Set();
    compared = 0;
  }
  function name(element) {
    const kind = typeof element.className === "string"
      ? element.className
      : element.className.baseVal;
    return element.localName + (element.id && `#${element.id}`) +
      (kind && `.${kind.trim().replaceAll(/\s+/g, ".")}`);
  }
  function judge(element, contrast, least, what) {
    if (contrast === undefined) return;
    compared++;
    if (contrast >= least) return;
    const where = element.parentElement === null ? "" : `${name(element.parentElement)} `;
    faults.add(`${contrast.toFixed(2)} of ${least}: ${where}${name(element)}: ${what}`);
  }

  /** Not where a browser shows nothing, and not what only screen readers are told. */
  function isShown(element, box) {
    return box.width > 1 && box.height > 1 && box.right > 0 &&
      element.checkVisibility({ visibilityProperty: true }) &&
      element.closest(".hidden") === null &&
      element.closest(":disabled, [aria-disabled=true]") === null;
  }

  function judgeTexts() {
    const walker = document.createTreeWalker(
      document.documentElement,
      NodeFilter.SHOW_TEXT,
    );
    const range = document.createRange();
    while (walker.nextNode()) {
      const text = walker.currentNode.data.trim();
      const element = walker.currentNode.parentElement;
      if (text === "" || element === null) continue;
      if (element.closest("script, style, title, noscript") !== null) continue;
      range.selectNodeContents(walker.currentNode);
      if (!isShown(element, range.getBoundingClientRect())) continue;
      const { color, fill } = getComputedStyle(element);
      const colour = colourOf(element instanceof SVGElement ? fill : color);
      judge(element, contrastOn(element, colour), TEXT, `"${text.slice(0, 30)}"`);
    }
    for (const field of document.querySelectorAll("input[placeholder]")) {
      if (!isShown(field, field.getBoundingClientRect())) continue;
      const { color, opacity } = getComputedStyle(field, "::placeholder");
      const [red, green, blue, alpha] = colourOf(color);
      const faint = [red, green, blue, alpha * Number(opacity)];
      judge(field, contrastOn(field, faint), TEXT, "placeholder");
    }
  }

  const strongest = (element, colours) =>
    Math.max(...colours.map((colour) => contrastOn(element, colourOf(colour)) ?? 0));

  function judgeDrawings() {
    const shapes = "polyline, polygon, rect, path, circle, line";
    for (const shape of document.querySelectorAll(shapes)) {
      const svg = shape.ownerSVGElement;
      if (svg === null || shape.closest(decoration) !== null) continue;
      if (shape.closest("defs, clipPath, mask, pattern, symbol") !== null) continue;
      const box = shape.getBoundingClientRect();
      const isLine = box.width > 1 || box.height > 1;
      if (!isLine || !isShown(svg, svg.getBoundingClientRect())) continue;
      const { fill, stroke, strokeWidth, opacity } = getComputedStyle(shape);
      const isFilled = fill !== "none" && Math.min(box.width, box.height) > 1;
      const colours = [
        ...isFilled ? [fill] : [],
        ...stroke !== "none" && Number.parseFloat(strokeWidth) > 0 ? [stroke] : [],
      ];
      if (colours.length === 0 || Number(opacity) === 0) continue;
      const faint = Number(opacity) < 1;
      const contrast = Math.max(...colours.map((colour) => {
        const [red, green, blue, alpha] = colourOf(colour);
        const part = faint ? alpha * Number(opacity) : alpha;
        return contrastOn(shape.parentElement, [red, green, blue, part]) ?? 0;
      }));
      judge(shape, contrast, GRAPHICS, "shape");
    }
  }

  /** Dots and keys that a style sheet draws in front of a text. */
  function judgeMarks() {
    for (const element of document.querySelectorAll("body *")) {
      for (const pseudo of ["::before", "::after"]) {
        const style = getComputedStyle(element, pseudo);
        if (style.content !== '""' || style.display === "none") continue;
        if (!isShown(element, element.getBoundingClientRect())) continue;
        const colours = [
          style.backgroundColor,
          ...["Top", "Right", "Bottom", "Left"].filter((side) =>
            Number.parseFloat(style[`border${side}Width`]) > 0
          ).map((side) => style[`border${side}Color`]),
        ];
        judge(element, strongest(element, colours), GRAPHICS, pseudo);
      }
    }
  }

  function judgeControls() {
    for (const control of document.querySelectorAll("button, input, select, textarea")) {
      if (!isShown(control, control.getBoundingClientRect())) continue;
      const { borderTopColor, borderTopWidth, backgroundColor } = getComputedStyle(
        control,
      );
      if (Number.parseFloat(borderTopWidth) === 0) continue;
      const contrast = strongest(control.parentElement, [
        borderTopColor,
        backgroundColor,
      ]);
      judge(control, contrast, GRAPHICS, "edge");
    }
  }

  /** Does something with every hovered style in force at once. */
  function hovered(task) {
    const added = [];
    for (const sheet of document.styleSheets) {
      for (let i = sheet.cssRules.length - 1; i >= 0; i--) {
        const { selectorText = "", cssText } = sheet.cssRules[i];
        if (!selectorText.includes(":hover")) continue;
        // As specific as it was.
        sheet.insertRule(cssText.replaceAll(":hover", ":nth-child(n)"), i + 1);
        added.push([sheet, i + 1]);
      }
    }
    layers.clear();
    try {
      task();
    } finally {
      for (const [sheet, i] of added.reverse()) sheet.deleteRule(i);
      layers.clear();
    }
  }

  return {
    /** What is too faint in the whole page, as it is and hovered, and how much was compared. */
    page() {
      begin();
      judgeTexts();
      judgeDrawings();
      judgeMarks();
      judgeControls();
      hovered(() => {
        judgeTexts();
        judgeControls();
      });
      return { faults: [...faults], compared };
    },

    /** What is wrong with how the element that has the focus shows it; empty: nothing. */
    focus() {
      begin();
      const element = document.activeElement;
      const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(element);
      if (!element.matches(":focus-visible")) faults.add(`${name(element)}: not shown`);
      else if (outlineStyle === "none" || Number.parseFloat(outlineWidth) < 2) {
        faults.add(`${name(element)}: no outline`);
      } else {
        const colour = colourOf(outlineColor);
        judge(element, contrastOn(element.parentElement, colour), GRAPHICS, "outline");
      }
      const box = element.getBoundingClientRect();
      const [x, y] = [
        box.left + Math.min(box.width, 40) / 2,
        box.top + Math.min(box.height, 24) / 2,
      ];
      const top = document.elementFromPoint(x, y);
      if (top === null) faults.add(`${name(element)}: out of sight`);
      else if (!element.contains(top)) faults.add(`${name(element)}: under ${name(top)}`);
      return [...faults];
    },
  };
})();
