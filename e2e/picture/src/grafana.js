// The parts of Grafana's own start-up that its components need: the options that fields know, and the transformations.
import {
  applyFieldOverrides,
  createTheme,
  identityOverrideProcessor,
  Registry,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';

export const theme = createTheme({ colors: { mode: 'dark' } });

const option = (id, path, isCustom) => ({
  ...{ id, path, isCustom, name: id, settings: {} },
  ...{ process: identityOverrideProcessor, override: identityOverrideProcessor },
  ...{ shouldApply: () => true, editor: () => null },
});
const standard = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'thresholds', 'mappings', 'color', 'links'];
const custom = [
  ...['drawStyle', 'lineWidth', 'fillOpacity', 'gradientMode', 'lineInterpolation', 'lineStyle', 'spanNulls', 'showPoints'],
  ...['pointSize', 'stacking', 'axisPlacement', 'axisColorMode', 'scaleDistribution', 'thresholdsStyle', 'hideFrom'],
  ...['align', 'cellOptions', 'inspect', 'width'],
];
const options = [...standard.map((id) => option(id, id, false)), ...custom.map((id) => option('custom.' + id, id, true))];
standardFieldConfigEditorRegistry.setInit(() => options.slice(0, standard.length));
const registry = new Registry(() => options);
const transformers = [...new Map(Object.values(standardTransformers).map((one) => [one.id, one])).values()]; // some stand twice
standardTransformersRegistry.setInit(() =>
  transformers.map((one) => ({
    ...{ id: one.id, aliasIds: one.aliasIds, name: one.name },
    ...{ transformation: async () => one, editor: () => null },
  })),
);

const line = {
  ...{ drawStyle: 'line', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', lineInterpolation: 'linear', showPoints: 'never' },
  ...{ spanNulls: false, pointSize: 5, stacking: { mode: 'none', group: 'A' }, axisPlacement: 'auto', axisColorMode: 'text' },
  ...{ scaleDistribution: { type: 'linear' }, thresholdsStyle: { mode: 'off' } },
  hideFrom: { legend: false, tooltip: false, viz: false },
};

// complete gives a panel the defaults that Grafana would.
export function complete(panel) {
  const whole = structuredClone(panel);
  whole.options ??= {};
  whole.fieldConfig.overrides ??= [];
  const { defaults } = whole.fieldConfig;
  defaults.color ??= { mode: panel.type === 'timeseries' ? 'palette-classic' : 'thresholds' };
  defaults.custom = { ...(panel.type === 'timeseries' ? line : {}), ...defaults.custom };
  for (const step of defaults.thresholds.steps) step.value ??= -Infinity;
  return whole;
}

// prepare transforms a panel's frames and gives their fields units, colours and names.
export async function prepare(panel, frames) {
  if (panel.transformations?.length && frames.length) {
    frames = await lastValueFrom(transformDataFrame(panel.transformations, frames, { interpolate: (text) => text }));
  }
  const prepared = applyFieldOverrides({
    ...{ data: frames, fieldConfig: panel.fieldConfig, fieldConfigRegistry: registry, replaceVariables: (text) => text },
    ...{ theme, timeZone: 'utc' },
  });
  for (const field of prepared.flatMap((frame) => frame.fields)) {
    // Grafana's table looks for the names that transformations gave here.
    if (field.config.displayName) field.state = { ...field.state, displayName: field.config.displayName };
  }
  return prepared;
}
