// One panel in Grafana's chrome: the component of its kind, or what it says when there is nothing to show.
import { getFieldDisplayValues, VizOrientation } from '@grafana/data';
import { BigValue, PanelChrome, Table, TimeSeries, VizRepeater } from '@grafana/ui';

import { Heatmap } from './heatmap.jsx';
import { Marks } from './marks.jsx';
import { Timeline } from './timeline.jsx';

const KINDS = { stat: Stat, timeseries: Curves, table: Rows, 'state-timeline': Timeline, heatmap: Heatmap };

export function Panel({ panel, frames, timeRange, marks, theme, width, height }) {
  const Kind = KINDS[panel.type];
  const empty = panel.type !== 'stat' && !frames.some((frame) => frame.length > 0);
  return (
    <PanelChrome title={panel.title} description={panel.description} width={width} height={height} padding={panel.type === 'table' ? 'none' : 'md'}>
      {(innerWidth, innerHeight) =>
        empty ? (
          <Nothing text={panel.fieldConfig.defaults.noValue} />
        ) : (
          <Kind {...{ panel, frames, timeRange, marks, theme }} width={innerWidth} height={innerHeight} />
        )
      }
    </PanelChrome>
  );
}

function Nothing({ text }) {
  return <div style={{ height: '100%', display: 'grid', placeItems: 'center', fontSize: 16 }}>{text ?? 'No data'}</div>;
}

function Stat({ panel, frames, theme, width, height }) {
  const { options, fieldConfig } = panel;
  const values = () => {
    const shown = getFieldDisplayValues({
      fieldConfig,
      reduceOptions: options.reduceOptions,
      data: frames,
      sparkline: options.graphMode !== 'none',
      replaceVariables: (text) => text,
      theme,
      timeZone: 'utc',
    });
    return shown;
  };
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={() => ({ title: '', text: '' })}
      orientation={width > height ? VizOrientation.Vertical : VizOrientation.Horizontal}
      width={width}
      height={height}
      itemSpacing={4}
      source={frames}
      autoGrid={false}
      renderCounter={0}
      renderValue={({ value, width: w, height: h, count }) => (
        <BigValue
          value={value.display}
          sparkline={value.sparkline}
          count={count}
          width={w}
          height={h}
          theme={theme}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          textMode={options.textMode}
        />
      )}
    />
  );
}

function Curves({ panel, frames, timeRange, marks, width, height }) {
  return (
    <TimeSeries frames={frames} structureRev={1} timeRange={timeRange} timeZone="utc" width={width} height={height} legend={panel.options.legend} options={panel.options}>
      {(config) => <Marks config={config} marks={marks} />}
    </TimeSeries>
  );
}

function Rows({ panel, frames, width, height }) {
  return <Table data={frames[0]} width={width} height={height} showTypeIcons={false} initialSortBy={panel.options.sortBy} cellHeight={panel.options.cellHeight} />;
}
