import type { ComponentChildren } from 'preact';

interface Heading {
  readonly text: string;
  readonly isNumber?: boolean;
  /** The rows are in the order of this column, the largest first. */
  readonly isSorted?: boolean;
  /** Read aloud only, such as over buttons. */
  readonly isHidden?: boolean;
}

/** A column of numbers. */
export function numeric(text: string, isSorted = false): Heading {
  return { text, isNumber: true, isSorted };
}

/** A table that scrolls sideways if it must; on a narrow page each of its rows is a card. */
export function Table(props: {
  /** Name for screen readers. */
  readonly name: string;
  readonly columns: readonly (string | Heading)[];
  /** The table's body and its foot. */
  readonly children: ComponentChildren;
}) {
  const { name, columns, children } = props;
  return (
    <div class="wide" tabIndex={0} role="group" aria-label={name}>
      <table class="cards">
        <thead>
          <tr>
            {columns.map((each) => {
              const heading: Heading = typeof each === 'string' ? { text: each } : each;
              const { text, isNumber = false, isSorted = false, isHidden = false } = heading;
              return (
                <th
                  key={text}
                  scope="col"
                  class={isNumber ? 'number' : undefined}
                  aria-sort={isSorted ? 'descending' : undefined}
                >
                  {isHidden ? <span class="visually-hidden">{text}</span> : text}
                </th>
              );
            })}
          </tr>
        </thead>
        {children}
      </table>
    </div>
  );
}
