// The kinds of panels, drawn with Grafana's components where these exist outside of Grafana.
import { dateTime, getFieldDisplayName, getFieldDisplayValues } from '@grafana/data';
import { BarGauge, BigValue, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { theme } from './grafana.js';

export function Body({ panel, frames, range, width, height }) {
  if (!frames.length) return <Nothing height={height} />;
  switch (panel.type) {
    case 'timeseries':
      return <Lines {...{ panel, frames, range, width, height }} />;
    case 'table':
      return <TableNG data={frames[0]} width={width} height={height} />;
    case 'state-timeline':
      return <States {...{ frames, width, height }} />;
    case 'stat':
    case 'bargauge':
      return <Values {...{ panel, frames, width, height }} />;
    default:
      throw new Error(`a panel of type ${panel.type} is not drawn`);
  }
}

function Nothing({ height }) {
  const style = { display: 'flex', height, alignItems: 'center', justifyContent: 'center', color: '#8e8e8e' };
  return <div style={style}>No data</div>;
}

function Lines({ panel, frames, range, width, height }) {
  const time = { from: dateTime(range.from), to: dateTime(range.to) };
  return (
    <TimeSeries
      {...{ frames, width, height, structureRev: 1, timeZone: 'utc', options: panel.options }}
      timeRange={{ ...time, raw: time }}
      legend={{ displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [], ...panel.options.legend }}
    />
  );
}

// States draws a bar for each series, coloured by its value at each time. Grafana's own panel is not to be had alone.
function States({ frames, width, height }) {
  const names = 260;
  const tall = Math.min(28, (height - 4) / frames.length);
  return frames.map((frame, row) => {
    const field = frame.fields[1];
    const cell = (width - names) / field.values.length;
    return (
      <div key={row} style={{ display: 'flex', height: tall, alignItems: 'center', fontSize: 12 }}>
        <div style={{ width: names, overflow: 'hidden', whiteSpace: 'nowrap' }}>{getFieldDisplayName(field, frame, frames)}</div>
        {field.values.map((value, i) => (
          <div
            key={i}
            style={{ width: cell, height: tall - 6, background: value === null ? 'none' : field.display(value).color }}
          />
        ))}
      </div>
    );
  });
}

// Values draws the last value of each series: large, or as a bar.
function Values({ panel, frames, width, height }) {
  const values = getFieldDisplayValues({
    ...{ data: frames, fieldConfig: panel.fieldConfig, reduceOptions: { calcs: ['lastNotNull'], values: false, fields: '' } },
    ...{ theme, replaceVariables: (text) => text, sparkline: true, timeZone: 'utc' },
  });
  const bars = panel.type === 'bargauge';
  const across = !bars && width >= height;
  const size = across ? { width: width / values.length, height } : { width, height: height / values.length };
  return (
    <div style={{ display: 'flex', flexDirection: across ? 'row' : 'column' }}>
      {values.map((one, i) =>
        bars ? (
          <BarGauge
            key={i}
            {...{ theme, ...size, value: one.display, field: one.field, orientation: 'horizontal', displayMode: 'gradient' }}
            display={one.view?.getFieldDisplayProcessor(one.colIndex)}
          />
        ) : (
          <BigValue
            key={i}
            {...{ theme, ...size, value: one.display, sparkline: one.sparkline, count: values.length }}
            {...{
              colorMode: panel.options.colorMode,
              graphMode: panel.options.graphMode,
              justifyMode: 'auto',
              textMode: 'value',
            }}
          />
        ),
      )}
    </div>
  );
}
