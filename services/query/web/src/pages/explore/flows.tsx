import type { Flows as FlowsAnswer } from '@sockscope/schemas/api';
import { sankey, sankeyLinkHorizontal } from 'd3-sankey';
import { useSignal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { useAnswer } from '../../api/use-answer.js';
import { showBytes, showCount } from '../../format/numbers.js';
import { addFilter, question } from '../../state/filters.js';
import { language, t } from '../../text/text.js';
import { Panel } from '../../widgets/panel.js';
import { isBytes } from './measures.js';
import type { Measure } from './measures.js';

const FLOWS = '40';
/** The width of a drawing, and how much of a name and its amount fits into it. */
const WIDE = { width: 1_320, chars: 28, hasAmounts: true } as const;
const NARROW = { width: 340, chars: 16, hasAmounts: false } as const;
const isNarrow = window.matchMedia('(max-width: 640px)');
/** Pixels of a node and the room below it. */
const NODE_HEIGHT = 26;
const HEIGHT_MIN = 240;
const HEIGHT_MAX = 1_200;
const FIELDS = ['user', 'dest_host', 'dest_port'] as const;

interface Node {
  readonly id: string;
  readonly field: (typeof FIELDS)[number];
  readonly name: string;
}

/** Sums by user, destination and port: as bands, and as a table. */
export function Flows({ measure }: { readonly measure: Measure }) {
  const answer = useAnswer<FlowsAnswer>(
    '/flows',
    [...question.value, ['sort', measure], ['limit', FLOWS]],
    0,
  );
  return (
    <Panel
      title={t.value.explore.flows(t.value.measure[measure])}
      {...answer}
      isRanged
      isEmpty={({ items }) => !items.some((item) => item[measure] > 0)}
    >
      {(value) => (
        <>
          <Bands flows={value} measure={measure} />
          <details>
            <summary>{t.value.table.show}</summary>
            <FlowTable flows={value} measure={measure} />
          </details>
        </>
      )}
    </Panel>
  );
}

function textOf(value: number, measure: Measure): string {
  const { digits, unit } = isBytes(measure)
    ? showBytes(value, language.value)
    : showCount(value, language.value);
  return `${digits} ${unit}`.trim();
}

/** Nodes and links of the bands: user to destination to port. */
export function graphOf(items: FlowsAnswer['items'], measure: Measure) {
  const nodes = new Map<string, Node>();
  const links = new Map<string, { source: string; target: string; value: number }>();
  for (const item of items) {
    if (item[measure] <= 0) continue;
    const path = FIELDS.map((field) => {
      const name = String(item[field]);
      const id = `${field} ${name}`;
      nodes.set(id, { id, field, name });
      return id;
    });
    for (let at = 1; at < path.length; at++) {
      const [source = '', target = ''] = [path[at - 1], path[at]];
      const id = JSON.stringify([source, target]);
      const link = links.get(id) ?? { source, target, value: 0 };
      link.value += item[measure];
      links.set(id, link);
    }
  }
  return { nodes: [...nodes.values()], links: [...links.values()] };
}

function Bands({ flows, measure }: { readonly flows: FlowsAnswer; readonly measure: Measure }) {
  const size = useSignal(isNarrow.matches);
  useEffect(() => {
    const turn = (): void => {
      size.value = isNarrow.matches;
    };
    isNarrow.addEventListener('change', turn);
    return () => {
      isNarrow.removeEventListener('change', turn);
    };
  }, [size]);
  const { width, chars, hasAmounts } = size.value ? NARROW : WIDE;
  const { graph, height } = useMemo(() => {
    const { nodes, links } = graphOf(flows.items, measure);
    const most = Math.max(
      ...FIELDS.map((field) => nodes.filter((node) => node.field === field).length),
    );
    const tall = Math.min(HEIGHT_MAX, Math.max(HEIGHT_MIN, most * NODE_HEIGHT));
    const layout = sankey<Node, object>()
      .nodeId((node) => node.id)
      .nodeWidth(8)
      .nodePadding(10)
      .extent([
        [0, 4],
        [width, tall - 4],
      ]);
    return {
      height: tall,
      graph: layout({
        nodes: nodes.map((node) => ({ ...node })),
        links: links.map((link) => ({ ...link })),
      }),
    };
  }, [flows, measure, width]);
  const path = sankeyLinkHorizontal();
  return (
    <svg
      class="sankey"
      viewBox={`0 0 ${width} ${height}`}
      role="img"
      aria-label={t.value.explore.flows(t.value.measure[measure])}
    >
      {graph.links.map((link) => {
        const [source, target] = [link.source as Node, link.target as Node];
        return (
          <path
            key={`${source.id} ${target.id}`}
            d={path(link) ?? ''}
            stroke-width={Math.max(1, link.width ?? 1)}
          >
            <title>{`${source.name} → ${target.name}: ${textOf(link.value, measure)}`}</title>
          </path>
        );
      })}
      {graph.nodes.map((node) => {
        const { x0 = 0, x1 = 0, y0 = 0, y1 = 0, value = 0 } = node;
        const isLast = node.field === 'dest_port';
        const text = node.name.length > chars ? `${node.name.slice(0, chars)}…` : node.name;
        return (
          <g
            key={node.id}
            class="node"
            onClick={() => {
              addFilter(node.field, node.name);
            }}
          >
            <title>{`${node.name}: ${textOf(value, measure)}`}</title>
            <rect x={x0} y={y0} width={x1 - x0} height={Math.max(1, y1 - y0)} />
            <text
              x={isLast ? x0 - 6 : x1 + 6}
              y={(y0 + y1) / 2}
              dy="0.35em"
              text-anchor={isLast ? 'end' : 'start'}
            >
              {text}
              {hasAmounts ? <tspan class="amount"> {textOf(value, measure)}</tspan> : null}
            </text>
          </g>
        );
      })}
    </svg>
  );
}

function FlowTable({ flows, measure }: { readonly flows: FlowsAnswer; readonly measure: Measure }) {
  return (
    <table class="cards">
      <thead>
        <tr>
          {FIELDS.map((field) => (
            <th key={field} scope="col">
              {t.value.field[field]}
            </th>
          ))}
          <th scope="col" class="number">
            {t.value.measure[measure]}
          </th>
        </tr>
      </thead>
      <tbody>
        {flows.items.map((item) => (
          <tr key={JSON.stringify(FIELDS.map((field) => item[field]))}>
            {FIELDS.map((field) => (
              <td key={field} data-label={t.value.field[field]}>
                <button
                  type="button"
                  class="value"
                  onClick={() => {
                    addFilter(field, String(item[field]));
                  }}
                >
                  <bdi>{item[field]}</bdi>
                </button>
              </td>
            ))}
            <td class="number" data-label={t.value.measure[measure]}>
              {textOf(item[measure], measure)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
