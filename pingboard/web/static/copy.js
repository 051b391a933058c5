// Copies what `data-copy` holds, the text of the element whose id `data-copy-from` names, or what is
// at `data-copy-address`; a link that has one of them leads to the same text where there is no script.
// A file, because the page's policy forbids inline scripts.
for (const button of document.querySelectorAll("[data-copy], [data-copy-from], [data-copy-address]")) {
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    const { copyAddress, copied, failed } = button.dataset;
    const text = await find(button.dataset);
    const isCopied = text !== null && await copy(text);
    if (!isCopied && copyAddress) return location.assign(button.href);
    button.textContent = isCopied ? copied : failed;
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

async function find({ copy, copyFrom, copyAddress }) {
  if (!copyAddress) return copy ?? document.getElementById(copyFrom).textContent;
  const answer = await fetch(copyAddress).catch(() => null);
  return answer?.ok ? answer.text() : null;
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
