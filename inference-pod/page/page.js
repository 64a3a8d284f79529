// The page of a model: asks the server that it came from, and no other.
const name = document.body.dataset.name;
const model = `v2/models/${encodeURIComponent(name)}`;
const element = (id) => document.getElementById(id);

/** How much of an answer is shown. */
const mostShown = 200_000;
const mostRequests = 10;

function show(id, text, isGood) {
  element(id).textContent = text;
  element(id).className = isGood ? 'good' : 'bad';
}

function row(...cells) {
  const line = document.createElement('tr');
  for (const text of cells) {
    const cell = document.createElement('td');
    cell.className = 'code';
    cell.textContent = text;
    line.append(cell);
  }
  return line;
}

/** Zeros for an input, each free dimension 1. */
function example({ name, datatype, shape }) {
  const sizes = shape.map((size) => (size === -1 ? 1 : size));
  const count = sizes.reduce((product, size) => product * size, 1);
  const zero = datatype === 'BYTES' ? '' : datatype === 'BOOL' ? false : 0;
  return { name, datatype, shape: sizes, data: new Array(count).fill(zero) };
}

/** One line for each tensor. */
function requestText(inputs) {
  return `{\n  "inputs": [\n${inputs.map((input) => `    ${JSON.stringify(example(input))}`).join(',\n')}\n  ]\n}`;
}

async function load() {
  const answer = await fetch(model);
  if (!answer.ok) {
    show('state', 'loading', false);
    setTimeout(load, 1000);
    return;
  }
  const { inputs, outputs } = await answer.json();
  const line = (kind) => (tensor) => row(kind, tensor.name, tensor.datatype, `[${tensor.shape.join(', ')}]`);
  element('signature').replaceChildren(...inputs.map(line('input')), ...outputs.map(line('output')));
  element('request').value = requestText(inputs);
  element('target').textContent = `POST /${model}/infer`;
  await update();
}

/** What changes while the server runs. */
async function update() {
  const ready = await fetch(`${model}/ready`);
  show('state', ready.ok ? 'ready' : 'not ready', ready.ok);
  const { model_stats } = await (await fetch(`${model}/stats`)).json();
  const { success, fail } = model_stats[0].inference_stats;
  const mean = success.count === 0 ? '' : `, ${(success.ns / success.count / 1e6).toFixed(2)} ms each`;
  element('statistics').textContent =
    `This pod has answered ${success.count} inferences${mean}, and refused ${fail.count}.`;
}

async function send() {
  element('send').disabled = true;
  const start = performance.now();
  try {
    const answer = await fetch(`${model}/infer`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: element('request').value,
    });
    const text = await answer.text();
    const milliseconds = (performance.now() - start).toFixed(1);
    show('outcome', `${answer.status} in ${milliseconds} ms`, answer.ok);
    element('answer').textContent = pretty(text).slice(0, mostShown);
    element('requests').prepend(row(new Date().toLocaleTimeString(), String(answer.status), milliseconds));
    while (element('requests').children.length > mostRequests) element('requests').lastChild.remove();
    await update();
  } catch (error) {
    show('outcome', `no answer: ${error.message}`, false);
    element('answer').textContent = '';
  } finally {
    element('send').disabled = false;
  }
}

/** Each output on a line of its own. The digits stay as they came: a browser would round large integers. */
function pretty(text) {
  return text.replaceAll('{"name":', '\n  {"name":');
}

element('send').addEventListener('click', send);
await load();
