// Draws the dashboard that the page is served with, all rows open, and says in window.drawn how high it is.
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

// open gives all panels, those of collapsed rows below their row.
function open(panels) {
  const all = [];
  let shift = 0;
  for (const panel of panels) {
    all.push({ ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + shift } });
    for (const inner of panel.panels ?? []) {
      all.push({ ...inner, gridPos: { ...inner.gridPos, y: inner.gridPos.y + shift } });
    }
    const bottom = Math.max(0, ...(panel.panels ?? []).map((inner) => inner.gridPos.y + inner.gridPos.h));
    if (bottom) shift += bottom - panel.gridPos.y - 1;
  }
  return all;
}

function place({ x, y, w, h }) {
  return { position: 'absolute', left: 8 + x * column, top: top + y * line, width: w * column - 8, height: h * line - 8 };
}

function Panel({ panel, frames, range }) {
  const style = place(panel.gridPos);
  if (panel.type === 'row') return <div style={{ ...style, fontSize: 16, paddingTop: 4 }}>⌄ {panel.title}</div>;
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
const items = [];
for (const raw of open(dashboard.panels)) {
  const panel = raw.type === 'row' ? raw : complete(raw);
  const frames =
    raw.type === 'row' ? [] : await prepare(panel, await readPanel(panel, range, variables, panel.gridPos.w * column));
  items.push({ panel, frames });
}
createRoot(document.getElementById('root')).render(<Page {...{ dashboard, items, range }} />);
const height = Math.max(...items.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h)) * line + top + 30;
setTimeout(() => (window.drawn = Math.ceil(height)), 2500); // Grafana's components draw themselves in several steps
