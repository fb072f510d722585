interface Props {
  readonly values: readonly (number | null)[];
}

const WIDTH = 120;
const HEIGHT = 28;

/** A line without axes. The number beside it has the same meaning, so it is hidden from readers. */
export function Sparkline({ values }: Props) {
  const max = Math.max(1, ...values.map((value) => value ?? 0));
  const step = WIDTH / Math.max(1, values.length - 1);
  const points = values
    .map(
      (value, at) =>
        `${(at * step).toFixed(1)},${(HEIGHT - 1 - ((value ?? 0) / max) * (HEIGHT - 2)).toFixed(1)}`,
    )
    .join(' ');
  return (
    <svg
      class="sparkline"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <polyline points={points} />
    </svg>
  );
}
