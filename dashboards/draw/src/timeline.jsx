// States over time, by Grafana's plot and legend: its own state timeline is no part of @grafana/ui.
import { getDisplayProcessor, getFieldDisplayName } from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation, UPlotChart, UPlotConfigBuilder, VizLegend } from '@grafana/ui';
import { useMemo } from 'react';

import { lines } from './marks.jsx';

const LEGEND = 26;

export function Timeline({ panel, frames, timeRange, marks, theme, width, height }) {
  const series = frames.map((frame) => ({ name: getFieldDisplayName(frame.fields[1], frame, frames), time: frame.fields[0].values, field: frame.fields[1] }));
  series.sort((one, other) => one.name.localeCompare(other.name));
  const config = useMemo(() => plotted(series, panel, timeRange, marks, theme), [frames]);
  const words = Object.values(panel.fieldConfig.defaults.mappings[0].options);
  const items = words.map(({ text, color }) => ({ label: text, color: theme.visualization.getColorByName(color), yAxis: 1 }));
  return (
    <div>
      <UPlotChart data={[series[0].time]} config={config} width={width} height={height - LEGEND} timeRange={timeRange} />
      <VizLegend items={items} placement="bottom" displayMode="list" />
    </div>
  );
}

function plotted(series, panel, timeRange, marks, theme) {
  const builder = new UPlotConfigBuilder('utc');
  const edges = [timeRange.from.valueOf(), timeRange.to.valueOf()];
  builder.addScale({ scaleKey: 'x', isTime: true, orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right, range: () => edges });
  builder.addScale({ scaleKey: 'y', isTime: false, orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Down, range: () => [0, series.length] });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: AxisPlacement.Bottom, timeZone: 'utc', theme, grid: { show: true } });
  builder.addAxis({
    scaleKey: 'y',
    placement: AxisPlacement.Left,
    theme,
    grid: { show: false },
    ticks: { show: false },
    size: 12 + 7 * Math.max(...series.map(({ name }) => name.length)),
    splits: series.map((_, row) => row + 0.5),
    values: series.map(({ name }) => name),
  });
  builder.addHook('draw', (plot) => {
    series.forEach((one, row) => bars(plot, one, row, panel.options.rowHeight, theme));
    lines(plot, marks);
  });
  return builder;
}

function bars(plot, { time, field }, row, rowHeight, theme) {
  const { ctx, bbox } = plot;
  const show = field.display ?? getDisplayProcessor({ field, theme });
  const middle = plot.valToPos(row + 0.5, 'y', true);
  const high = Math.abs(plot.valToPos(1, 'y', true) - plot.valToPos(0, 'y', true)) * rowHeight;
  ctx.save();
  field.values.forEach((value, index) => {
    if (value !== null) {
      const left = plot.valToPos(time[index], 'x', true);
      const right = index + 1 < time.length ? plot.valToPos(time[index + 1], 'x', true) : bbox.left + bbox.width;
      ctx.fillStyle = show(value).color;
      ctx.fillRect(left, middle - high / 2, right - left + 0.5, high);
    }
  });
  ctx.restore();
}
