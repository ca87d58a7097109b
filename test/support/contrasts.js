// Runs in a page: of each text the contrast to what is behind it, as the WCAG reckons it. 4.5 is the least for a text of normal size.
;(() => {
  const parts = (color) => (color.match(/[\d.]+/g) ?? []).map(Number)
  const linear = (c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4)
  const luminance = (color) => {
    const [r, g, b] = parts(color).map(linear)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (element) => {
    if (element === null) return 'rgb(255, 255, 255)'
    const { backgroundColor } = getComputedStyle(element)
    return parts(backgroundColor)[3] === 0 ? behind(element.parentElement) : backgroundColor
  }
  return [...document.querySelectorAll('main *')]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim() !== ''))
    .map((e) => {
      const [a, b] = [luminance(getComputedStyle(e).color), luminance(behind(e))]
      return { text: e.textContent.trim().slice(0, 40), contrast: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) }
    })
})()
