// Adds to the drawing of a homeserver's history a cursor, zoom, and finer numbers when zoomed.
// The drawing that the page came with stays for whoever has no script.
const STEPS = { "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "1d": 86400, "7d": 604800 };
const MAX_POINTS = 120;
const MIN_WINDOW_S = 900;
const MIN_BAND = 5; // samples of a bucket; see charts/smoke

const figure = document.querySelector("[data-history]");
if (figure && window.uPlot) start(figure, figure.dataset);

async function start(figure, says) {
  const whole = { from: Date.parse(says.from) / 1000, to: Date.parse(says.to) / 1000, step: says.step };
  const drawing = figure.querySelector(".chart");
  const reading = figure.querySelector(".reading");
  const write = writer(says.locale);
  const colour = (name) => getComputedStyle(drawing).getPropertyValue(`--${name}`).trim();
  const holder = make(says.name);
  let shown = whole, asked = 0, buckets, plot;

  figure.ariaBusy = "true";
  try {
    buckets = await load(says, shown);
  } catch {
    return;
  } finally {
    figure.ariaBusy = "false";
  }
  drawing.after(holder);
  figure.classList.add("is-live");
  figure.querySelector(".zoom").hidden = false;
  draw();
  listen();

  function draw() {
    plot?.destroy();
    const half = STEPS[shown.step] / 2;
    const take = (name) => buckets.map((bucket) => (bucket.sample_count < MIN_BAND ? null : bucket[name]));
    const times = buckets.map((bucket) => Date.parse(bucket.from_at) / 1000 + half);
    const lines = ["p95_ms", "p5_ms", "p75_ms", "p25_ms", "median_ms"].map(take);
    // Too few samples for a band, or no neighbours: a line through one point would not be seen.
    const line = lines.at(-1);
    const isDot = (index) => line[index] === null || (line[index - 1] ?? line[index + 1] ?? null) === null;
    const dots = buckets.map((bucket, index) => (isDot(index) ? bucket.median_ms : null));
    const data = [times, ...lines, dots];
    plot = new uPlot(options(), data, holder);
    figure.dataset.shown = `${shown.from} ${shown.to} ${shown.step}`;
  }

  function options() {
    const font = "12px system-ui, sans-serif";
    const axis = { font, stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
    const band = { width: 0, points: { show: false } };
    return {
      width: holder.clientWidth,
      height: holder.clientHeight,
      padding: [8, 12, 0, 0],
      legend: { show: false },
      // `setScale` is false: what is zoomed into comes with finer numbers.
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      scales: {
        x: { range: () => [shown.from, shown.to] },
        y: { distr: 3, range: () => spread(buckets) },
      },
      series: [
        {}, band, band, band, band,
        { stroke: colour("median"), width: 1.75, points: { show: false } },
        { paths: () => null, points: { show: true, size: 7, width: 0, fill: colour("median") } },
      ],
      bands: [
        { series: [1, 2], fill: colour("outer") },
        { series: [3, 4], fill: colour("inner") },
      ],
      axes: [
        { ...axis, size: 28, splits: (u) => markTime(shown.from, shown.to, u.bbox.width / uPlot.pxRatio), values: (u, marks) => marks.map((at) => write.mark(at, shown.to - shown.from)) },
        { ...axis, size: 68, splits: (u, index, low, high) => markMs(low, high), filter: (u, marks) => marks, values: (u, marks) => marks.map((ms) => `${write.number(ms)} ms`) },
      ],
      hooks: { draw: [drawLoss], setCursor: [(u) => read(u.cursor.idx)], setSelect: [select] },
    };
  }

  // What was lost: on the median, and as bars below.
  function drawLoss(u) {
    const { left, top, width, height } = u.bbox;
    const half = STEPS[shown.step] / 2;
    const x = (at) => u.valToPos(at, "x", true);
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(left, top, width, height);
    u.ctx.clip();
    buckets.forEach((bucket, index) => {
      const level = [0, 0.05, 0.2].filter((least) => bucket.loss > least).length;
      if (!level) return;
      const [start, end] = [x(u.data[0][index] - half), x(u.data[0][index] + half)];
      const tall = Math.max(bucket.loss * 0.12 * height, 4 * uPlot.pxRatio);
      u.ctx.fillStyle = u.ctx.strokeStyle = colour(`loss${level}`);
      u.ctx.fillRect(start, top + height - tall, Math.max(end - start, 1), tall);
      if (bucket.sample_count < MIN_BAND) return;
      const y = u.valToPos(bucket.median_ms, "y", true);
      u.ctx.lineWidth = (2 + level) * uPlot.pxRatio;
      u.ctx.beginPath();
      u.ctx.moveTo(start, y);
      u.ctx.lineTo(end, y);
      u.ctx.stroke();
    });
    u.ctx.restore();
  }

  function read(index) {
    const bucket = buckets[index ?? -1];
    if (!bucket) return;
    const values = {
      time: write.instant(Date.parse(bucket.from_at) / 1000),
      loss: bucket.loss === null ? "–" : write.share(bucket.loss),
      samples: write.number(bucket.sample_count),
      median: write.number(bucket.median_ms),
      p5: write.number(bucket.p5_ms),
      p95: write.number(bucket.p95_ms),
    };
    reading.textContent = fill(bucket.median_ms === null ? says.empty : says.reading, values);
  }

  // Shows a part, at a step as fine as there is room for; only the latest wish counts.
  async function show({ from, to }) {
    const turn = ++asked;
    const isWhole = to - from >= whole.to - whole.from;
    const step = Object.keys(STEPS).find((name) => (to - from) / STEPS[name] <= MAX_POINTS) ?? "1d";
    const part = isWhole ? whole : { from, to, step };
    try {
      const loaded = await load(says, part);
      if (turn !== asked) return;
      [buckets, shown] = [loaded, part];
      draw();
      const ends = { from: write.instant(shown.from), to: write.instant(shown.to), step: shown.step.replace(/.$/, "\u202f$&").replace("m", "min") };
      reading.textContent = isWhole ? "" : fill(says.zoomed, ends);
    } catch {
      reading.textContent = says.failed;
    }
  }

  function zoom(factor, middle = plot.cursor.idx == null ? (shown.from + shown.to) / 2 : plot.data[0][plot.cursor.idx]) {
    const length = Math.min(Math.max((shown.to - shown.from) * factor, MIN_WINDOW_S), whole.to - whole.from);
    const from = Math.min(Math.max(middle - length / 2, whole.from), whole.to - length);
    return show({ from: Math.round(from), to: Math.round(from + length) });
  }

  function select(u) {
    const { left, width } = u.select;
    if (width < 8) return;
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    const [from, to] = [left, left + width].map((at) => u.posToVal(at, "x"));
    zoom((to - from) / (shown.to - shown.from), (from + to) / 2);
  }

  function move(index) {
    const kept = Math.min(Math.max(index, 0), buckets.length - 1);
    plot.setCursor({ left: plot.valToPos(plot.data[0][kept], "x"), top: 10 });
  }

  function listen() {
    const keys = {
      ArrowLeft: () => move((plot.cursor.idx ?? buckets.length) - 1),
      ArrowRight: () => move((plot.cursor.idx ?? -1) + 1),
      Home: () => move(0),
      End: () => move(buckets.length - 1),
      "+": () => zoom(0.5),
      "=": () => zoom(0.5),
      "-": () => zoom(2),
      0: () => show(whole),
    };
    holder.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    for (const button of figure.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", { in: keys["+"], out: keys["-"], all: keys[0] }[button.dataset.zoom]);
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    const fit = () => plot.setSize({ width: holder.clientWidth, height: holder.clientHeight });
    new ResizeObserver(fit).observe(holder);
  }
}

function make(name) {
  const holder = document.createElement("div");
  holder.className = "plot";
  holder.tabIndex = 0;
  // The arrow keys are ours here, also where a screen reader has its own use for them.
  holder.setAttribute("role", "application");
  holder.setAttribute("aria-label", name);
  holder.setAttribute("aria-describedby", "history-text");
  return holder;
}

async function load(says, { from, to, step }) {
  const instant = (at) => new Date(at * 1000).toISOString();
  const query = new URLSearchParams({ board: says.board, step, from: instant(from), to: instant(to) });
  if (says.room) query.set("room", says.room);
  const answer = await fetch(`${says.history}?${query}`);
  if (!answer.ok) throw new Error(answer.statusText);
  return (await answer.json()).buckets;
}

// As the drawing of the page has it (see charts/smoke): the highest peaks are cut off.
function spread(buckets) {
  const known = buckets.filter((bucket) => bucket.median_ms !== null);
  if (!known.length) return [1, 10];
  const peaks = known.map((bucket) => bucket.p95_ms).sort((low, high) => low - high);
  const usual = peaks[Math.floor((peaks.length - 1) * 0.9)];
  const low = Math.max(Math.min(...known.map((bucket) => bucket.p5_ms)), 1);
  const high = Math.max(usual, low, ...known.map((bucket) => bucket.p75_ms));
  const widen = Math.max(Math.sqrt(1.5 / (high / low)), 1.04);
  return [Math.max(low / widen, 1), high * widen];
}

// Round latencies; within a decade, where there are too few of these, multiples of one.
function markMs(low, high) {
  for (const heads of [[1, 2, 5], [1, 2, 3, 5, 7], [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9]]) {
    const marks = [];
    for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
      marks.push(...heads.map((head) => head * power).filter((ms) => ms >= low && ms <= high));
    }
    if (marks.length > 2) return marks.filter((_, n) => n % Math.ceil(marks.length / 6) === 0);
  }
  const least = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((ms) => ms >= least);
  return Array.from({ length: 6 }, (_, n) => (Math.ceil(low / step) + n) * step).filter((ms) => ms <= high);
}

function markTime(from, to, width) {
  const most = Math.min(Math.max(width / 50, 2), 8);
  const steps = [60, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 1209600, 2635200, 5270400];
  const step = steps.find((seconds) => (to - from) / seconds <= most) ?? steps.at(-1);
  const first = Math.ceil(from / step) * step;
  const room = (to - from) * 0.03;
  return Array.from({ length: Math.floor((to - first) / step) + 1 }, (_, n) => first + n * step)
    .filter((at) => at - from > room && to - at > room);
}

function writer(language) {
  const locale = language === "en" ? "en-GB" : language;
  const format = (options) => {
    const formatter = new Intl.DateTimeFormat(locale, { timeZone: "UTC", ...options });
    return (at) => formatter.format(at * 1000);
  };
  const day = { day: "numeric", month: "short" }, time = { hour: "2-digit", minute: "2-digit" };
  const [days, times, both] = [day, time, { ...day, ...time }].map(format);
  const number = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
  const share = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 });
  return {
    number: (value) => number.format(value),
    share: (value) => share.format(value),
    instant: (at) => `${both(at)} UTC`,
    mark: (at, length) => (at % 86400 === 0 || length > 4 * 86400 ? days : times)(at),
  };
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
