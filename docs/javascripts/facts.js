// Long tables sort by a click on a heading, and show the rows that meet all words of a box above them: "torch" anywhere
// in a row, "resume=exact" or "state<=4" in a column.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("article table")) {
    const rows = Array.from(table.tBodies[0]?.rows ?? []);
    if (rows.length < 20) continue;
    const headings = Array.from(table.tHead.rows[0].cells);
    const text = (row, column) => row.cells[column].textContent.trim();

    const meets = (row, word) => {
      const parts = word.match(/^([\w.]+)(<=|>=|!=|<|>|=)(.*)$/);
      if (!parts) return row.textContent.toLowerCase().includes(word.toLowerCase());
      const column = headings.findIndex((cell) => cell.textContent.trim() === parts[1]);
      if (column < 0) return false;
      const [value, wanted] = [text(row, column), parts[3]];
      const numbers = value !== "" && wanted !== "" && !isNaN(value) && !isNaN(wanted);
      const [a, b] = numbers ? [Number(value), Number(wanted)] : [value, wanted];
      return {
        "=": a === b, "!=": a !== b, "<=": numbers && a <= b, ">=": numbers && a >= b, "<": numbers && a < b,
        ">": numbers && a > b,
      }[parts[2]];
    };

    const box = document.createElement("input");
    box.type = "search";
    box.placeholder = "resume=exact elementwise=yes state<=4 torch";
    box.setAttribute("aria-label", "Show rows with");
    box.style.cssText = "width: 100%; padding: .5rem; font: inherit";
    const count = document.createElement("p");
    box.addEventListener("input", () => {
      const words = box.value.split(/\s+/).filter(Boolean);
      for (const row of rows) row.hidden = !words.every((word) => meets(row, word));
      count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
    });
    table.before(box, count);
    table.style.cssText = "font-size: .6rem; line-height: 1.3";
    for (const cell of headings) cell.style.cssText = "min-width: 4rem; padding: .3rem";
    for (const row of rows) for (const cell of row.cells) cell.style.padding = ".3rem";

    headings.forEach((heading, column) => {
      let up = false;
      heading.style.cursor = "pointer";
      heading.title = "Sort";
      heading.addEventListener("click", () => {
        up = !up;
        const order = (a, b) => text(a, column).localeCompare(text(b, column), "en", { numeric: true });
        rows.sort((a, b) => (up ? order(a, b) : order(b, a)));
        table.tBodies[0].append(...rows);
      });
    });
  }
});
