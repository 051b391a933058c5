// Lets the keyboard move through the matrix cell by cell, and says below it what a cell is of.
const table = document.querySelector(".heat table");
if (table) start(table);

function start(table) {
  const reading = document.querySelector(".heat .reading");
  const heads = table.tHead.rows[0].cells;
  const rows = [...table.tBodies[0].rows];
  let crossed, current, told;

  // A grid is one stop of the Tab key; inside, the arrow keys move, and the cell is read with its
  // row and column.
  table.setAttribute("role", "grid");
  table.setAttribute("aria-readonly", "true");
  stand(rows[0].cells[1]);
  read(current);

  function stand(cell) {
    current?.removeAttribute("tabindex");
    current = cell;
    cell.tabIndex = 0;
  }

  function read(cell) {
    if (cell === told) return;
    told = cell;
    const head = heads[cell.cellIndex];
    crossed?.classList.remove("is-crossed");
    crossed = head;
    head.classList.add("is-crossed");
    const names = { ping: cell.parentNode.cells[0].textContent, pong: head.textContent };
    const what = cell.textContent.trim().replaceAll(" ", "\u00a0") || table.dataset.none;
    const parts = table.dataset.reading.split(/\{(\w+)\}/).map((part, index) => {
      if (index % 2 === 0) return part;
      return part === "what" ? what : link(names[part]);
    });
    reading.replaceChildren(...parts);
  }

  function link(name) {
    const link = document.createElement("a");
    link.href = table.dataset.address.replace("/-", `/${encodeURIComponent(name)}`);
    link.textContent = name;
    return link;
  }

  function move(event) {
    const row = rows.indexOf(current.parentNode), column = current.cellIndex;
    const last = heads.length - 1, end = rows.length - 1;
    const to = {
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      Home: [event.ctrlKey ? 0 : row, 1],
      End: [event.ctrlKey ? end : row, last],
      PageUp: [row - 10, column],
      PageDown: [row + 10, column],
    }[event.key];
    if (!to || event.altKey || event.metaKey) return;
    event.preventDefault();
    const [y, x] = [Math.min(Math.max(to[0], 0), end), Math.min(Math.max(to[1], 1), last)];
    stand(rows[y].cells[x]);
    current.focus({ preventScroll: true });
    current.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  table.addEventListener("keydown", move);
  table.addEventListener("focusin", (event) => event.target.cellIndex && read(event.target));
  table.addEventListener("mouseover", (event) => {
    const cell = event.target.closest("tbody td");
    if (cell) read(cell);
  });
  table.addEventListener("click", (event) => {
    const cell = event.target.closest("tbody td");
    if (!cell) return;
    stand(cell);
    cell.focus({ preventScroll: true });
  });
}
