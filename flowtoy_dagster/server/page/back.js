// Dagster's pages change the address without being loaded again: the link follows when it is used.

const link = document.getElementById("flowtoy-back");

function follow() {
  const run = /^\/runs\/([0-9a-f-]{36})$/.exec(location.pathname);
  if (run) link.href = `/?run=${run[1]}`;
}

for (const event of ["pointerdown", "focus", "click"]) link.addEventListener(event, follow);
