// Draws one panel with Grafana's components, by the options that stand in the dashboard.
import './registries';
import { type ReactNode } from 'react';
import {
  applyFieldOverrides,
  createTheme,
  dateTime,
  FieldType,
  getFieldDisplayValues,
  identityOverrideProcessor,
  PanelPlugin,
  type DataFrame,
  type FieldDisplay,
} from '@grafana/data';
import { BarGauge, BigValue, Table, TimeSeries, VizRepeater } from '@grafana/ui';

export interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  fieldConfig: any;
  options: any;
  targets?: any[];
  transformations?: Array<{ id: string; options: any }>;
}

export const theme = createTheme({ colors: { mode: 'dark' } });

// Grafana registers these with its panels; what is not registered, an override cannot set.
const custom = [
  ...['cellOptions', 'hidden', 'align', 'width', 'minWidth'],
  ...['drawStyle', 'lineInterpolation', 'lineWidth', 'fillOpacity', 'showPoints', 'spanNulls', 'stacking', 'axisSoftMax'],
];
const registry = new PanelPlugin(() => null).useFieldConfig({
  useCustomConfig: (builder) =>
    custom.forEach((path) =>
      builder.addCustomEditor({
        id: path,
        path,
        name: path,
        editor: () => null,
        override: () => null,
        process: identityOverrideProcessor,
        shouldApply: () => true,
        settings: {},
      } as any)
    ),
}).fieldConfigRegistry;

export function Drawn({ panel, data, width, height, from, to }: { panel: Panel; data: DataFrame[]; width: number; height: number; from: number; to: number }) {
  const series = applyFieldOverrides({
    data,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: registry,
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
  const draw = drawn[panel.type];
  return series.length && draw ? draw(panel, series, width, height, from, to) : <span>No data</span>;
}

type Draw = (panel: Panel, series: DataFrame[], width: number, height: number, from: number, to: number) => ReactNode;

const drawn: Record<string, Draw> = {
  stat: (panel, series, width, height) =>
    repeated(panel, series, width, height, (value, w, h, count) => (
      <BigValue
        key={value.display.title}
        width={w}
        height={h}
        value={named(panel, value, count)}
        text={panel.options.text}
        sparkline={panel.options.graphMode === 'area' ? value.sparkline : undefined}
        colorMode={panel.options.colorMode}
        graphMode={panel.options.graphMode}
        justifyMode={panel.options.justifyMode}
        textMode={panel.options.textMode}
        theme={theme}
      />
    )),
  bargauge: (panel, series, width, height) =>
    repeated(panel, series, width, height, (value, w, h) => (
      <BarGauge
        key={value.display.title}
        width={w}
        height={Math.min(h, 48)}
        field={value.field}
        display={value.view?.getFieldDisplayProcessor(value.colIndex!)}
        value={value.display}
        text={panel.options.text}
        namePlacement={panel.options.namePlacement}
        orientation={panel.options.orientation}
        displayMode={panel.options.displayMode}
        showUnfilled={panel.options.showUnfilled}
        theme={theme}
      />
    )),
  table: (panel, series, width, height) => (
    <Table columnMinWidth={panel.fieldConfig.defaults.custom.minWidth} data={series[0]} width={width} height={height} initialSortBy={panel.options.sortBy} cellHeight={panel.options.cellHeight} />
  ),
  timeseries: lines,
  // Grafana keeps its state timeline to itself: drawn as filled steps instead.
  'state-timeline': (panel, series, ...size) => {
    const steps = { drawStyle: 'line', lineInterpolation: 'stepAfter', lineWidth: 0, fillOpacity: 80, showPoints: 'never' };
    const filled = series.map((one) => ({
      ...one,
      fields: one.fields.map((field) => ({ ...field, config: { ...field.config, min: 0, max: 1, custom: steps } })),
    }));
    return lines({ ...panel, options: { legend: { ...panel.options.legend, showLegend: true } } }, filled, ...size);
  },
};

function lines(panel: Panel, series: DataFrame[], width: number, height: number, from: number, to: number) {
  const [first, last] = [dateTime(from * 1000), dateTime(to * 1000)];
  return (
    <TimeSeries
      frames={series}
      width={width}
      height={height}
      timeRange={{ from: first, to: last, raw: { from: first, to: last } }}
      timeZone="utc"
      legend={panel.options.legend}
    />
  );
}

function repeated(panel: Panel, series: DataFrame[], width: number, height: number, one: (value: FieldDisplay, w: number, h: number, count: number) => any) {
  const values = getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    theme,
    data: series.map((frame) => ({ ...frame, fields: frame.fields.filter((f) => f.type !== FieldType.string) })),
    sparkline: panel.type === 'stat',
    timeZone: 'utc',
  });
  return (
    <VizRepeater
      source={values}
      getValues={() => values}
      orientation={panel.options.orientation}
      width={width}
      height={height}
      renderValue={({ value, width: w, height: h, count }) => one(value, w, h, count)}
      renderCounter={0}
      autoGrid
    />
  );
}

/** A lone value needs no name, unless the name is the value. */
function named(panel: Panel, value: FieldDisplay, count: number) {
  return panel.options.textMode === 'value' && count === 1 ? { ...value.display, title: undefined } : value.display;
}
