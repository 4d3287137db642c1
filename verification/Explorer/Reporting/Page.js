'use strict';
(function () {
  const table = document.getElementById('steps');
  const rows = Array.from(table.querySelectorAll('tbody tr[data-step]'));
  const slider = document.getElementById('at');
  const label = document.getElementById('where');
  const cells = Array.from(document.querySelectorAll('#pages td'));

  function show(step) {
    const at = Math.min(Math.max(step, 1), rows.length);
    rows.forEach(function (row) { row.classList.remove('now'); });
    const row = rows[at - 1];
    row.classList.add('now');
    cells.forEach(function (cell, page) { cell.textContent = row.getAttribute('data-page' + page) || ''; });
    slider.value = at;
    label.textContent = 'step ' + at + ' of ' + rows.length;
    row.scrollIntoView({ block: 'center', inline: 'nearest' });
  }

  slider.addEventListener('input', function () { show(Number(slider.value)); });
  document.getElementById('back').addEventListener('click', function () { show(Number(slider.value) - 1); });
  document.getElementById('on').addEventListener('click', function () { show(Number(slider.value) + 1); });
  document.getElementById('whole').addEventListener('change', function (event) { table.classList.toggle('whole', event.target.checked); });
  const moves = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -rows.length, End: rows.length };
  document.addEventListener('keydown', function (event) {
    if (!(event.key in moves) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    show(Number(slider.value) + moves[event.key]);
  });
  rows.forEach(function (row, index) { row.addEventListener('click', function () { show(index + 1); }); });
  Array.from(table.querySelectorAll('tr.gap')).forEach(function (gap) {
    gap.addEventListener('click', function () {
      rows.slice(Number(gap.getAttribute('data-first')) - 1, Number(gap.getAttribute('data-last'))).forEach(function (row) { row.classList.toggle('open'); });
    });
  });
  window.addEventListener('hashchange', function () { show(Number(location.hash.slice(1)) || rows.length); });
  if (rows.length !== 0) show(Number(location.hash.slice(1)) || rows.length);
}());
