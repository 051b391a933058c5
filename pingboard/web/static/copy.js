// Copies what `data-copy` holds, or the text of the element whose id `data-copy-from` names; a link
// that has one of them leads to the same text where there is no script. A file, because the page's
// policy forbids inline scripts.
for (const button of document.querySelectorAll("[data-copy], [data-copy-from]")) {
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    const { copy: text, copyFrom, copied, failed } = button.dataset;
    const isCopied = await copy(text ?? document.getElementById(copyFrom).textContent);
    button.textContent = isCopied ? copied : failed;
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

async function copy(text) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  // Without https there is no clipboard to write to, only a selection to copy.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}
