// Annotations: a dashed line from the top to the bottom of a graph, in the annotation's color.
import { useLayoutEffect } from 'react';

export function Marks({ config, marks }) {
  useLayoutEffect(() => {
    config.addHook('draw', (plot) => lines(plot, marks));
  }, [config, marks]);
  return null;
}

export function lines(plot, marks) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.setLineDash([4, 4]);
  for (const { at, color } of marks) {
    const x = plot.valToPos(at * 1000, 'x', true);
    if (x >= bbox.left && x <= bbox.left + bbox.width) {
      ctx.strokeStyle = color;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
  }
  ctx.restore();
}
