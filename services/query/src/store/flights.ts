import { unlessAborted } from './unless-aborted.js';

/**
 * Equal questions that are asked while one of them is under way share its answer. The question
 * itself is cancelled only when all its waiters have left.
 */
export interface Flights<T> {
  join(key: string, signal: AbortSignal, start: (signal: AbortSignal) => Promise<T>): Promise<T>;
  readonly size: number;
}

interface Flight<T> {
  readonly answer: Promise<T>;
  readonly controller: AbortController;
  waiting: number;
  isOver: boolean;
}

export function createFlights<T>(): Flights<T> {
  const flights = new Map<string, Flight<T>>();

  function begin(key: string, start: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const flight: Flight<T> = {
      controller,
      answer: start(controller.signal),
      waiting: 0,
      isOver: false,
    };
    flights.set(key, flight);
    const end = () => {
      flight.isOver = true;
      if (flights.get(key) === flight) flights.delete(key);
    };
    flight.answer.then(end, end);
    return flight;
  }

  return {
    get size() {
      return flights.size;
    },
    async join(key, signal, start) {
      if (signal.aborted) throw new Error('aborted before it was asked');
      const flight = flights.get(key) ?? begin(key, start);
      flight.waiting += 1;
      try {
        return await unlessAborted(flight.answer, signal);
      } finally {
        flight.waiting -= 1;
        if (flight.waiting === 0 && !flight.isOver) {
          // Nobody waits any more; the next caller starts again.
          if (flights.get(key) === flight) flights.delete(key);
          flight.controller.abort();
        }
      }
    },
  };
}
