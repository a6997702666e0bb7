// What a dashboard asks of Prometheus: the values of its variables, and the answers to its queries as Grafana's frames.
import { FieldType, toDataFrame } from '@grafana/data';

async function ask(path, parameters) {
  const response = await fetch('/prometheus' + path + '?' + new URLSearchParams(parameters));
  const answer = await response.json();
  if (answer.status !== 'success') throw new Error(answer.error ?? response.status);
  return answer.data;
}

// fill puts the values of variables into a text.
export function fill(text, values) {
  return text.replace(/\$\{(\w+)(?::\w+)?\}|\$(\w+)/g, (all, braced, plain) => values[braced ?? plain] ?? all);
}

// readVariables gives what All stands for, and complains of a variable that has no values.
export async function readVariables(list, range) {
  const values = {};
  for (const variable of list) {
    values[variable.name] = variable.allValue ?? variable.name;
    if (variable.type !== 'query') continue;
    const [, metric, label] = /^label_values\((.+), (\w+)\)$/.exec(fill(variable.query, values));
    const found = await ask(`/api/v1/label/${label}/values`, { 'match[]': metric, start: range.from / 1e3, end: range.to / 1e3 });
    if (!found.length) console.error(`VARIABLE ${variable.name}: no values`);
  }
  return values;
}

function span(ms) {
  return Math.max(1, Math.round(ms / 1e3)) + 's';
}

// readPanel answers a panel's queries.
export async function readPanel(panel, range, variables, width) {
  const step = Math.max(range.step, Math.ceil((range.to - range.from) / width / 1e3) * 1e3);
  const values = {
    ...variables,
    __rate_interval: span(Math.max(step + range.step, 4 * range.step)),
    __interval: span(step),
    __range: span(range.to - range.from),
  };
  const frames = [];
  for (const target of panel.targets ?? []) {
    const expr = fill(target.expr, values);
    try {
      const found =
        target.format === 'table' ? await readTable(target, expr, range, panel) : await readLines(target, expr, range, step);
      if (!found.length) console.error(`EMPTY [${panel.title}] ${expr}`);
      frames.push(...found);
    } catch (err) {
      console.error(`ERROR [${panel.title}] ${expr}: ${err.message}`);
    }
  }
  return frames;
}

async function readTable(target, query, range, panel) {
  const { result } = await ask('/api/v1/query', { query, time: range.to / 1e3 });
  if (!result.length) return [];
  const labels = [...new Set(result.flatMap((series) => Object.keys(series.metric)))].sort();
  const value = panel.targets.length > 1 ? 'Value #' + target.refId : 'Value';
  const fields = labels.map((name) => ({
    name,
    type: FieldType.string,
    values: result.map((series) => series.metric[name] ?? ''),
  }));
  fields.push({ name: value, type: FieldType.number, values: result.map((series) => Number(series.value[1])) });
  return [toDataFrame({ refId: target.refId, fields })];
}

async function readLines(target, query, range, step) {
  const times = [];
  for (let time = Math.ceil(range.from / step) * step; time <= range.to; time += step) times.push(time);
  const parameters = { query, start: times[0] / 1e3, end: range.to / 1e3, step: step / 1e3 };
  const { result } = await ask('/api/v1/query_range', parameters);
  return result.map((series) => {
    const points = new Map(series.values.map(([time, value]) => [Math.round(time * 1e3), Number(value)]));
    const name = target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => series.metric[label] ?? '').trim();
    return toDataFrame({
      refId: target.refId,
      name,
      fields: [
        { name: 'Time', type: FieldType.time, values: times },
        {
          name: 'Value',
          type: FieldType.number,
          config: { displayNameFromDS: name },
          values: times.map((time) => points.get(time) ?? null),
        },
      ],
    });
  });
}
