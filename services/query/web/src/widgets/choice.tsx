import { change, params } from '../state/location.js';

/** The value of a parameter of the page: the first of `values` if the address has none of them. */
export function chosen<T extends string>(name: string, values: readonly [T, ...T[]]): T {
  const given = params.value.get(name);
  return values.find((value) => value === given) ?? values[0];
}

/** A choice that is kept in the address of the page. The first value is left out of the address. */
export function Choice<T extends string>(props: {
  readonly name: string;
  readonly values: readonly [T, ...T[]];
  readonly label: string;
  readonly textOf: (value: T) => string;
}) {
  const { name, values, label, textOf } = props;
  return (
    <label>
      {label}{' '}
      <select
        value={chosen(name, values)}
        onChange={(event) => {
          const { value } = event.currentTarget;
          change({ [name]: value === values[0] ? null : value });
        }}
      >
        {values.map((value) => (
          <option key={value} value={value}>
            {textOf(value)}
          </option>
        ))}
      </select>
    </label>
  );
}
