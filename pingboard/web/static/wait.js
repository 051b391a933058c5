// Looks again for what is not there yet. A script, because a page that reloads itself by a tag does
// so also under a screen reader's cursor; here it waits while somebody is reading or typing.
const { seconds } = document.currentScript.dataset;
setInterval(() => {
  if (!document.hidden && document.activeElement === document.body) location.reload();
}, seconds * 1000);
