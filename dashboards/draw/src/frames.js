// Makes of Prometheus' answers what Grafana's data source makes of them: data frames, with a panel's configuration.
import {
  applyFieldOverrides,
  dateTime,
  FieldType,
  Registry,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

const STANDARD = ['unit', 'decimals', 'min', 'max', 'mappings', 'thresholds', 'color', 'links', 'noValue', 'displayName'];

export function timeRangeOf({ from, to }) {
  const ends = { from: dateTime(from * 1000), to: dateTime(to * 1000) };
  return { ...ends, raw: ends };
}

export function prepareTransformations() {
  const { mergeTransformer, organizeFieldsTransformer } = standardTransformers;
  standardTransformersRegistry.setInit(() =>
    [mergeTransformer, organizeFieldsTransformer].map((one) => ({ ...one, transformation: one, editor: () => null }))
  );
}

export async function preparePanel(panel, answers, { step, range, variables, theme }) {
  const several = panel.targets.length > 1;
  let frames = panel.targets.flatMap((target) => framesOf(target, answers[target.refId], step, range, several));
  if (panel.type === 'heatmap') {
    frames = [bucketsOf(frames)].filter(Boolean);
  }
  if (panel.transformations?.length) {
    frames = await firstValueFrom(transformDataFrame(panel.transformations, frames, { interpolate: (text) => text }));
  }
  return applyFieldOverrides({
    data: frames,
    fieldConfig: configurationOf(panel),
    fieldConfigRegistry: registryOf(panel),
    replaceVariables: (text) => interpolated(text, variables),
    theme,
    timeZone: 'utc',
  });
}

function framesOf(target, series, step, range, several) {
  if (target.format === 'table') {
    return series.length ? [tableOf(target, series, several)] : [];
  }
  return series.map(({ metric, values, value }) => {
    const points = values ? filled(values, step, range) : [value];
    return toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: points.map(([at]) => at * 1000), config: { interval: 1000 * step } },
        {
          name: 'Value',
          type: FieldType.number,
          labels: metric,
          values: points.map(([, figure]) => numberOf(figure)),
          config: { displayNameFromDS: legendOf(target.legendFormat, metric) },
        },
      ],
    });
  });
}

// A step without a sample is a null, so that a curve has a gap there.
function filled(values, step, { from, to }) {
  const there = new Map(values.map(([at, figure]) => [Math.round(at / step), figure]));
  const all = [];
  for (let number = Math.ceil(from / step); number * step <= to; number++) {
    all.push([number * step, there.get(number) ?? null]);
  }
  return all;
}

function numberOf(figure) {
  return figure === null || figure === 'NaN' ? null : Number(figure.replace('Inf', 'Infinity'));
}

function legendOf(format, metric) {
  if (!format || format === '__auto') {
    return Object.values(metric).join(' ') || 'value';
  }
  return format.replace(/\{\{(\w+)\}\}/g, (_, name) => metric[name] ?? '').trim() || 'value';
}

function tableOf(target, series, several) {
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].filter((name) => name !== '__name__').sort();
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map(({ value }) => value[0] * 1000) },
      ...labels.map((name) => ({ name, type: FieldType.string, values: series.map(({ metric }) => metric[name] ?? '') })),
      { name: several ? `Value #${target.refId}` : 'Value', type: FieldType.number, values: series.map(({ value }) => numberOf(value[1])) },
    ],
  });
}

// Cumulative buckets in the order of their edges become one frame, a field for what lies in each bucket.
function bucketsOf(frames) {
  const edge = (frame) => Number(frame.fields[1].labels.le.replace('Inf', 'Infinity'));
  const sorted = [...frames].sort((one, other) => edge(one) - edge(other));
  return sorted.length
    ? toDataFrame({
        fields: [
          sorted[0].fields[0],
          ...sorted.map((frame, number) => ({
            name: String(edge(frame)),
            type: FieldType.number,
            config: {},
            values: frame.fields[1].values.map((total, row) =>
              total === null ? null : Math.max(0, total - (number ? (sorted[number - 1].fields[1].values[row] ?? 0) : 0))
            ),
          })),
        ],
      })
    : null;
}

// Grafana keeps null for the lowest threshold in JSON, and minus infinity in the browser.
function configurationOf({ fieldConfig }) {
  const text = (key, value) =>
    key === 'thresholds' ? { ...value, steps: value.steps.map((step) => ({ ...step, value: step.value ?? -1e308 })) } : value;
  const walk = (part, key) => {
    const changed = text(key, part);
    if (Array.isArray(changed)) {
      return changed.map((inner) => walk(inner));
    }
    if (changed && typeof changed === 'object') {
      return Object.fromEntries(
        Object.entries(changed).map(([name, inner]) => [name, walk(inner, name === 'value' && changed.id === 'thresholds' ? 'thresholds' : name)])
      );
    }
    return changed;
  };
  return walk(fieldConfig);
}

function registryOf({ fieldConfig }) {
  const overridden = fieldConfig.overrides.flatMap(({ properties }) => properties.map(({ id }) => id));
  const custom = Object.keys(fieldConfig.defaults.custom ?? {}).map((name) => `custom.${name}`);
  const ids = new Set([...STANDARD, ...custom, ...overridden]);
  return new Registry(() =>
    [...ids].map((id) => ({
      id,
      name: id,
      path: id.replace(/^custom\./, ''),
      isCustom: id.startsWith('custom.'),
      process: (value) => value,
      shouldApply: () => true,
      settings: {},
    }))
  );
}

function interpolated(text, variables) {
  return text.replace(/\$\{(\w+)(?::\w+)?\}/g, (whole, name) => variables[name]?.value ?? whole);
}
