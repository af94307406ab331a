// Draws a dashboard by Grafana's own components, from recorded answers of Prometheus.
import { createTheme, EventBusSrv, ThemeContext } from '@grafana/data';
import { GlobalStyles, PanelContextProvider } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import 'uplot/dist/uPlot.min.css';

import { preparePanel, prepareTransformations, timeRangeOf } from './frames.js';
import { Panel } from './panel.jsx';

const GAP = 8; // Grafana's grid: rows of 30 px, 8 px apart, 24 columns
const ROW = 38;

function Board({ board, panels, variables, timeRange, marks, width, theme }) {
  const inner = width - 2 * 16;
  const place = ({ x, y, w, h }) => ({
    position: 'absolute',
    left: 16 + (x * (inner + GAP)) / 24,
    top: 92 + y * ROW,
    width: (w * (inner + GAP)) / 24 - GAP,
    height: h * ROW - GAP,
  });
  const bottom = Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const context = { eventBus: new EventBusSrv() };
  return (
    <div style={{ position: 'relative', width, height: 92 + bottom * ROW, background: theme.colors.background.canvas }}>
      <Head board={board} variables={variables} timeRange={timeRange} theme={theme} />
      <PanelContextProvider value={context}>
        {panels.map(({ panel, frames }) => (
          <div key={panel.id} style={place(panel.gridPos)}>
            {panel.type === 'row' ? (
              <div style={{ padding: '6px 4px', fontWeight: 500 }}>⌄ {panel.title}</div>
            ) : (
              <Panel {...{ panel, frames, timeRange, marks, theme, ...place(panel.gridPos) }} />
            )}
          </div>
        ))}
      </PanelContextProvider>
    </div>
  );
}

function Head({ board, variables, timeRange, theme }) {
  const chip = { border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, padding: '5px 8px', marginRight: 8 };
  const shown = ([name, { label, text }]) => (
    <span key={name} style={chip}>
      <b style={{ fontWeight: 500 }}>{label}</b>&ensp;<span style={{ color: theme.colors.text.secondary }}>{text}</span>
    </span>
  );
  const clock = (moment) => moment.format('YYYY-MM-DD HH:mm:ss');
  return (
    <div>
      <div style={{ height: 40, padding: '10px 16px', borderBottom: `1px solid ${theme.colors.border.weak}` }}>
        Dashboards › <b style={{ fontWeight: 500 }}>{board.title}</b>
        <span style={{ float: 'right', color: theme.colors.text.secondary }}>
          {clock(timeRange.from)} to {clock(timeRange.to)} · refreshed every {board.refresh}
        </span>
      </div>
      <div style={{ padding: '14px 16px', whiteSpace: 'nowrap', fontSize: 13 }}>
        {Object.entries(variables).map(shown)}
        <span style={{ float: 'right' }}>{(board.links ?? []).map((link) => <span key={link.title} style={chip}>{link.title} ↗</span>)}</span>
      </div>
    </div>
  );
}

async function main({ board, answers, steps, variables, range, marks, width, mode }) {
  const theme = createTheme({ colors: { mode } });
  prepareTransformations();
  const panels = [];
  for (const panel of board.panels) {
    const how = { step: steps[panel.id], range, variables, theme };
    panels.push({ panel, frames: panel.type === 'row' ? [] : await preparePanel(panel, answers[panel.id], how) });
  }
  createRoot(document.getElementById('board')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Board {...{ board, panels, variables, width, theme }} marks={marks.map(({ at, color }) => ({ at, color: theme.visualization.getColorByName(color) }))} timeRange={timeRangeOf(range)} />
    </ThemeContext.Provider>
  );
}

window.draw = main;
