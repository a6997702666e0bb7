// Draws the dashboard that the page is served with, its rows open where they have data, and says in window.drawn how high it is.
import { css, Global } from '@emotion/react';
import { ThemeContext } from '@grafana/data';
import { GlobalStyles, PanelChrome } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { complete, prepare, theme } from './grafana.js';
import { Body } from './panels.jsx';
import { readPanel, readVariables } from './prometheus.js';

const parameters = new URLSearchParams(location.search);
const width = Number(parameters.get('width'));
const line = 38; // of Grafana's grid, in pixels
const column = (width - 16) / 24;
const top = 80;

// fill gives a panel with its data.
async function fill(raw) {
  if (raw.type === 'row') return { panel: raw, frames: [] };
  const panel = complete(raw);
  return { panel, frames: await prepare(panel, await readPanel(panel, range, variables, panel.gridPos.w * column)) };
}

// arrange gives all panels in their places, those of collapsed rows below their row unless none of them has data.
async function arrange(panels) {
  const all = [];
  let shift = 0;
  const add = ({ panel, frames }) =>
    all.push({ panel: { ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + shift } }, frames });
  for (const raw of panels) {
    const inner = [];
    for (const one of raw.panels ?? []) inner.push(await fill(one));
    const opened = inner.some(({ frames }) => frames.some((frame) => frame.length > 0));
    add(await fill({ ...raw, opened }));
    if (!opened) continue;
    inner.forEach(add);
    shift += Math.max(...inner.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h)) - raw.gridPos.y - 1;
  }
  return all;
}

function place({ x, y, w, h }) {
  return { position: 'absolute', left: 8 + x * column, top: top + y * line, width: w * column - 8, height: h * line - 8 };
}

function Panel({ panel, frames, range }) {
  const style = place(panel.gridPos);
  if (panel.type === 'row')
    return (
      <div style={{ ...style, fontSize: 16, paddingTop: 4 }}>
        {panel.opened ? '⌄' : '›'} {panel.title}
      </div>
    );
  return (
    <div style={style}>
      <PanelChrome width={style.width} height={style.height} title={panel.title} description={panel.description}>
        {(inner, high) => <Body {...{ panel, frames, range, width: inner, height: high }} />}
      </PanelChrome>
    </div>
  );
}

function Page({ dashboard, items, range }) {
  const { background, text } = theme.colors;
  const look = css`
    body {
      margin: 0;
      background: ${background.canvas};
      color: ${text.primary};
      font: 14px ${theme.typography.fontFamily};
    }
    * {
      box-sizing: border-box;
    }
  `;
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Global styles={look} />
      <div style={{ padding: '10px 12px', fontSize: 20 }}>{dashboard.title}</div>
      <div style={{ padding: '0 12px', color: '#8e8e8e' }}>{dashboard.description}</div>
      {items.map((item) => (
        <Panel key={item.panel.id} {...item} range={range} />
      ))}
    </ThemeContext.Provider>
  );
}

const to = Date.now();
const minutes = Number(parameters.get('minutes'));
const range = { from: to - minutes * 60e3, to, step: minutes > 60 ? 15e3 : 2e3 };
const dashboard = await (await fetch('/dashboard.json')).json();
const variables = await readVariables(dashboard.templating.list, range);
const items = await arrange(dashboard.panels);
createRoot(document.getElementById('root')).render(<Page {...{ dashboard, items, range }} />);
const height = Math.max(...items.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h)) * line + top + 30;
setTimeout(() => (window.drawn = Math.ceil(height)), 2500); // Grafana's components draw themselves in several steps
