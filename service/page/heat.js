// Heat maps in colour: values in [0, 1] at the model's resolution, drawn smoothly.

/**
 * Plasma: perceptually uniform, readable with every kind of colour blindness, and nowhere gray
 * like the radiograph below it.
 */
const PLASMA = [
  0x0d0887, 0x310597, 0x4c02a1, 0x6600a7, 0x7e03a8, 0x9511a1, 0xaa2395, 0xbc3587, 0xcc4778,
  0xd9586a, 0xe56b5d, 0xf07f4f, 0xf89441, 0xfdab33, 0xfdc328, 0xf9dd25, 0xf0f921,
].map((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]);

/** From this value on the colour is full; below, more and more of the radiograph shines through. */
const FULL_FROM = 0.6;

/** Pixels that are drawn for a cell of the map, along each axis. */
const FINENESS = 16;

/** Draw a heat map, `{width, height, data}` with rows of values, to fill a canvas of its own size. */
export function drawHeat(canvas, { width, height, data }) {
  const along = data.map((row) => enlarge(row));
  const columns = along[0].map((_, x) => enlarge(along.map((row) => row[x])));
  canvas.width = width * FINENESS;
  canvas.height = height * FINENESS;
  paint(canvas, (x, y) => columns[x][y]);
}

/** Draw the colours of 0 to 1 from left to right. */
export function drawLegend(canvas) {
  paint(canvas, (x) => x / (canvas.width - 1));
}

/** Write a colour for each pixel's value. */
function paint(canvas, valueAt) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let y = 0, at = 0; y < canvas.height; y += 1) {
    for (let x = 0; x < canvas.width; x += 1, at += 4) {
      image.data.set(colourOf(valueAt(x, y)), at);
    }
  }
  context.putImageData(image, 0, 0);
}

/** Red, green, blue and alpha, each of 0 to 255, of a value in [0, 1]. */
function colourOf(value) {
  const place = value * (PLASMA.length - 1);
  const below = Math.min(Math.floor(place), PLASMA.length - 2);
  const [low, high] = [PLASMA[below], PLASMA[below + 1]];
  const colour = low.map((channel, at) => channel + (high[at] - channel) * (place - below));
  return [...colour, 255 * Math.min(1, value / FULL_FROM) ** 1.5];
}

/** Values at the cells' centres, interpolated cubically (Catmull-Rom) and kept in [0, 1]. */
function enlarge(values) {
  const at = (index) => values[Math.max(0, Math.min(values.length - 1, index))];
  return Array.from({ length: values.length * FINENESS }, (_, fine) => {
    const place = (fine + 0.5) / FINENESS - 0.5;
    const cell = Math.floor(place);
    const t = place - cell;
    const [a, b, c, d] = [at(cell - 1), at(cell), at(cell + 1), at(cell + 2)];
    const value = b + (t / 2) * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
    return Math.max(0, Math.min(1, value));
  });
}
