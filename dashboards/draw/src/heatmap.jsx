// Cells of a histogram over time, by Grafana's plot: its own heat map is no part of @grafana/ui.
import { getValueFormat } from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation, UPlotChart, UPlotConfigBuilder } from '@grafana/ui';
import { useMemo } from 'react';

const ORANGES = [[253, 216, 179], [253, 141, 60], [217, 72, 1], [127, 39, 4]];

export function Heatmap({ panel, frames, timeRange, theme, width, height }) {
  const config = useMemo(() => plotted(frames[0], panel, timeRange, theme), [frames]);
  return <UPlotChart data={[frames[0].fields[0].values]} config={config} width={width} height={height} timeRange={timeRange} />;
}

function plotted(frame, panel, timeRange, theme) {
  const [time, ...buckets] = frame.fields;
  const builder = new UPlotConfigBuilder('utc');
  const edges = [timeRange.from.valueOf(), timeRange.to.valueOf()];
  const seconds = getValueFormat(panel.options.yAxis.unit);
  const named = (name) => { const { text, suffix = '' } = seconds(Number(name)); return Number.isFinite(Number(name)) ? text + suffix : '∞'; };
  builder.addScale({ scaleKey: 'x', isTime: true, orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right, range: () => edges });
  builder.addScale({ scaleKey: 'y', isTime: false, orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up, range: () => [0, buckets.length] });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: AxisPlacement.Bottom, timeZone: 'utc', theme });
  builder.addAxis({
    scaleKey: 'y',
    placement: AxisPlacement.Left,
    theme,
    size: 60,
    grid: { show: false },
    splits: buckets.map((_, row) => row + 1).filter((row) => row % 4 === 0),
    values: buckets.map(({ name }, row) => [row + 1, named(name)]).filter(([row]) => row % 4 === 0).map(([, text]) => text),
  });
  builder.addHook('draw', (plot) => cells(plot, time.values, buckets));
  return builder;
}

function cells(plot, times, buckets) {
  const { ctx, bbox } = plot;
  const most = Math.max(...buckets.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const step = times.length > 1 ? times[1] - times[0] : 60000;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  buckets.forEach(({ values }, row) => {
    const [low, high] = [plot.valToPos(row, 'y', true), plot.valToPos(row + 1, 'y', true)];
    values.forEach((value, index) => {
      if (value > 1e-9) {
        const [left, right] = [plot.valToPos(times[index] - step, 'x', true), plot.valToPos(times[index], 'x', true)];
        ctx.fillStyle = shade(Math.sqrt(value / most));
        ctx.fillRect(left + 0.5, high + 0.5, right - left - 1, low - high - 1);
      }
    });
  });
  ctx.restore();
}

function shade(share) {
  const place = Math.min(share, 0.9999) * (ORANGES.length - 1);
  const [one, other] = [ORANGES[Math.floor(place)], ORANGES[Math.floor(place) + 1]];
  return `rgb(${one.map((channel, index) => Math.round(channel + (other[index] - channel) * (place % 1))).join(',')})`;
}
