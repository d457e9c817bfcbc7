// What the pages do when they are read. Long tables sort by a click on a heading, and show the rows that meet all words of a box above them: "torch" anywhere
// in a row, "resume=exact" or "state<=4" in a column.
document.addEventListener("DOMContentLoaded", () => {
  // A short piece of code, such as --on-change, is not broken at its hyphens.
  for (const code of document.querySelectorAll("article :not(pre) > code"))
    if (code.textContent.length <= 40 && !/\s/.test(code.textContent)) code.style.whiteSpace = "nowrap";

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
    const isOfFacts = headings.some((cell) => cell.textContent.trim() === "resume");
    box.placeholder = isOfFacts ? "resume=exact elementwise=yes state<=4 torch" : "words that a row has";
    box.setAttribute("aria-label", "Show rows with");
    box.className = table.className = "facts";
    const count = document.createElement("p");
    box.addEventListener("input", () => {
      const words = box.value.split(/\s+/).filter(Boolean);
      for (const row of rows) row.hidden = !words.every((word) => meets(row, word));
      count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
    });
    table.before(box, count);

    headings.forEach((heading, column) => {
      let up = false;
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
