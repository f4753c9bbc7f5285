// Asks Prometheus what Grafana's data source would ask, and gives its answers the shape of Grafana's frames.
import { FieldType, toDataFrame, type DataFrame } from '@grafana/data';

export interface Target {
  refId: string;
  expr: string;
  legendFormat: string;
  instant?: boolean;
  format?: string;
}

interface Series {
  metric: Record<string, string>;
  value?: [number, string];
  values?: Array<[number, string]>;
}

export interface Asking {
  url: string;
  from: number;
  to: number;
  step: number;
  fill: (text: string) => string;
}

export async function frames(asking: Asking, target: Target, alone: boolean): Promise<DataFrame[]> {
  const { url, from, to, step, fill } = asking;
  const query = fill(target.expr);
  const kind = target.instant ? 'query' : 'query_range';
  const times = target.instant ? { time: `${to}` } : { start: `${from}`, end: `${to}`, step: `${step}` };
  const answer = await fetch(`${url}/api/v1/${kind}?${new URLSearchParams({ query, ...times })}`);
  const said = await answer.json();
  if (said.status !== 'success') {
    throw new Error(`${query}: ${said.error}`);
  }
  const series: Series[] = said.data.result;
  return target.format === 'table' ? [table(series, target, alone)] : series.map((one) => course(one, target, from, to, step));
}

/** One frame of all series: their labels as columns, and their latest value. */
function table(series: Series[], target: Target, alone: boolean): DataFrame {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))];
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map((one) => one.value![0] * 1000) },
      ...labels.map((name) => ({ name, type: FieldType.string, values: series.map((one) => one.metric[name] ?? '') })),
      {
        name: alone ? 'Value' : `Value #${target.refId}`,
        type: FieldType.number,
        values: series.map((one) => Number(one.value![1])),
      },
    ],
  });
}

/** A frame of one series. Steps without an answer are gaps, and so is what is not finite: nothing is drawn on an axis from NaN. */
function course(one: Series, target: Target, from: number, to: number, step: number): DataFrame {
  const name = target.legendFormat.replace(/{{(\w+)}}/g, (_, label) => one.metric[label] ?? '');
  const given = one.values ?? [one.value!];
  const finite = given.filter(([, value]) => Number.isFinite(Number(value)));
  const at = new Map(finite.map(([time, value]) => [Math.round((time - from) / step), Number(value)]));
  const places = target.instant ? [...at.keys()] : Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, n) => n);
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: places.map((place) => (from + place * step) * 1000) },
      {
        name: 'Value',
        type: FieldType.number,
        labels: one.metric,
        config: { displayNameFromDS: name },
        values: places.map((place) => at.get(place) ?? null),
      },
    ],
  });
}
