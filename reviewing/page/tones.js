// Brightness, contrast and inversion of the radiograph, as a reading room has them.

const CONTROLS = ["brightness", "contrast", "invert"];

/** Let the controls of these ids change how a canvas is shown; the button "plain" takes it back. */
export function listenToTones(canvas, $) {
  const show = () => {
    const [brightness, contrast] = [$("brightness").value, $("contrast").value];
    canvas.style.filter = `brightness(${brightness}%) contrast(${contrast}%) invert(${$("invert").checked ? 1 : 0})`;
  };
  for (const id of CONTROLS) $(id).addEventListener("input", show);
  $("plain").addEventListener("click", () => {
    $("brightness").value = $("contrast").value = 100;
    $("invert").checked = false;
    show();
  });
}
