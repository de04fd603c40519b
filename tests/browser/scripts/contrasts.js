// Every text of the widget -> its contrast with what is behind it, as WCAG 2 works it out.
() => {
  const numbers = (color) => (color.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const part = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const fillOf = (element) => {
    const rect = element.tagName === "g" ? element.querySelector(":scope > rect") : null;
    const fill = rect ? getComputedStyle(rect).fill : "none";
    return fill === "none" ? getComputedStyle(element).backgroundColor : fill;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const [r, g, b, a = 1] = numbers(fillOf(one));
      if (r !== undefined && a > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = {};
  for (const element of document.querySelectorAll(".kplab-journey *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.tagName === "title") continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(numbers(element instanceof SVGElement ? style.fill : style.color)), light(behind(element))];
    const name = element.className.baseVal ?? element.className;
    found[`${name}: ${element.textContent}`] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }
  return found;
}
