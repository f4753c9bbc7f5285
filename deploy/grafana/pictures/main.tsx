// A page with one dashboard: ?board=JSON&url=PROMETHEUS&seconds=BACK&org=REGEXP&job=ID
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { firstValueFrom } from 'rxjs';
import { ThemeContext, transformDataFrame, type DataFrame } from '@grafana/data';
import { GlobalStyles, PanelChrome, PortalContainer } from '@grafana/ui';
import { frames, type Asking } from './prometheus';
import { Drawn, theme, type Panel } from './panels';

const COLUMNS = 24;
const CELL = 38;
const GAP = 8;

const given = new URLSearchParams(location.search);
const to = Math.floor(Date.now() / 1000);
const back = Number(given.get('seconds') ?? 300);
const step = Math.max(1, Math.round(back / 300));
const values: Record<string, string> = {
  $__rate_interval: `${Math.max(15, 4 * step)}s`,
  $__range: `${back}s`,
  $__interval: `${step}s`,
  $cluster: '.*',
  $monitor: 'finetune-monitor',
  $org: given.get('org') ?? '.*',
  $top: '10',
  $job: given.get('job') ?? '.*',
};
const fill = (text: string) => Object.entries(values).reduce((was, [name, value]) => was.replaceAll(name, value), text);
const asking: Asking = { url: given.get('url')!, from: to - back, to, step, fill };

async function read(panel: Panel): Promise<DataFrame[]> {
  const targets = panel.targets ?? [];
  const answers = (await Promise.all(targets.map((target) => frames(asking, target, targets.length === 1)))).flat();
  return firstValueFrom(transformDataFrame(panel.transformations ?? [], answers));
}

function Tile({ panel, column }: { panel: Panel; column: number }) {
  const [data, setData] = useState<DataFrame[]>();
  useEffect(() => void read(panel).then(setData), [panel]);
  const { x, y, w, h } = panel.gridPos;
  const place = { position: 'absolute' as const, left: x * column, top: y * CELL, width: w * column - GAP, height: h * CELL - GAP };
  if (panel.type === 'row') {
    return <h4 style={{ ...place, margin: 0, paddingTop: 6 }}>{panel.title}</h4>;
  }
  return (
    <div style={place} data-panel={data ? 'drawn' : 'waiting'}>
      <PanelChrome title={panel.title} description={panel.description} width={place.width} height={place.height}>
        {(width, height) => data && <Drawn panel={panel} data={data} width={width} height={height} from={asking.from} to={asking.to} />}
      </PanelChrome>
    </div>
  );
}

function Board({ title, panels }: { title: string; panels: Panel[] }) {
  const column = (window.innerWidth - 2 * GAP) / COLUMNS;
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <h3 style={{ margin: '8px 8px 4px', color: theme.colors.text.primary }}>{title}</h3>
      <main style={{ position: 'relative', margin: GAP, height: bottom * CELL, color: theme.colors.text.primary }}>
        {panels.map((panel) => (
          <Tile key={panel.id} panel={panel} column={column} />
        ))}
      </main>
      <PortalContainer />
    </ThemeContext.Provider>
  );
}

fetch(given.get('board')!)
  .then((answer) => answer.json())
  .then((board) => createRoot(document.getElementById('board')!).render(<Board title={board.title} panels={board.panels} />));
